"""What the examples say on the command line: their help, what they lack, what they are doing."""

import argparse
import re
import runpy
import socket
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

from tests.test_package import extras

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(file.stem for file in EXAMPLES.glob("[!_]*.py"))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)


def run(monkeypatch: pytest.MonkeyPatch, name: str, *flags: str) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *flags])
    try:
        if name == "study":
            runpy.run_module("examples.study", run_name="__main__")
        else:
            runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    finally:
        if dist.is_initialized():  # by ddp.py, which ended before it could leave its world of one
            dist.destroy_process_group()


@pytest.mark.parametrize("hidden", ["rich", "matplotlib", "sklearn"])
@pytest.mark.parametrize("name", [*SCRIPTS, "study"])
def test_a_missing_package_is_named_with_its_remedy(
    name: str, hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in [*sys.modules]:
        if known.split(".")[0] in ("_common", "study", "examples"):
            monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, hidden, None)
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, name, "--help")
    assert ended.value.code == (f"The examples need {hidden}. Run: pip install 'graphkd[examples]'")


def test_what_is_looked_for_is_the_extra() -> None:
    import study

    names = {"scikit-learn": "sklearn"}
    assert {names.get(name, name) for name in extras()["examples"]} == set(study.PACKAGES)


@pytest.mark.parametrize("name", [*SCRIPTS, "study"])
def test_help_has_a_line_and_the_default_of_every_flag(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    if name == "lightning_module":
        pytest.importorskip("lightning")
    parsers = []
    show = argparse.ArgumentParser.print_help
    monkeypatch.setattr(
        argparse.ArgumentParser, "print_help", lambda self: (parsers.append(self), show(self))
    )
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, name, "--help")
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    (parser,) = parsers
    flags = {action.option_strings[0]: action for action in parser._actions}
    for flag, action in flags.items():
        assert action.help, flag
        default = action.default
        if default and default != argparse.SUPPRESS and "default" not in action.help:
            shown = " ".join(map(str, default)) if isinstance(default, list) else str(default)
            assert f"(default: {shown})" in said, flag
    assert flags["--root"].default == "data"
    assert flags["--root"].help == "the folder of all data sets; each has its own in it"


@pytest.mark.parametrize(
    ("name", "flags", "folder"),
    [
        ("quickstart", ["--dataset", "Cora"], "Planetoid/Cora/raw"),
        ("graph_agnostic", ["--dataset", "Photo"], "Amazon/Photo/raw"),
        ("ddp", ["--dataset", "Physics"], "Coauthor/Physics/raw"),
        ("lightning_module", ["--dataset", "Physics"], "Coauthor/Physics/raw"),
        ("hetero", ["--dataset", "DBLP"], "DBLP/raw"),
        ("multilabel", ["--dataset", "PPI"], "PPI/raw"),
        ("molecules", ["--dataset", "tox21"], "MoleculeNet/tox21/raw"),
        ("molecules", ["--dataset", "ogbg-molhiv"], "ogbg_molhiv/raw"),
        ("sampled", ["--dataset", "ogbn-arxiv"], "ogbn_arxiv/raw"),
        ("point_cloud", ["--dataset", "ign"], "ign_lidar/ign_lidar_tiles.npz"),
        ("point_cloud", ["--dataset", "S3DIS"], "S3DIS"),
        ("study", ["--datasets", "Cora"], "Planetoid/Cora/raw"),
    ],
)
def test_a_set_that_cannot_be_had_says_where_its_files_belong(
    name: str, flags: list[str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*args: object, **options: object) -> None:
        raise OSError("there is no network")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, name, *flags, "--root", "sets")
    said = str(ended.value.code)
    assert f"sets/{folder}" in said
    assert "\n" not in said
    assert re.search("could not be (downloaded|read): |nothing downloads", said)


def test_the_quickstart_says_what_it_tunes_and_takes_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    short = ("--tune", "--epochs", "1", "--seeds", "1", "--losses", "at")
    run(monkeypatch, "quickstart", *short, "--settings", "kd=10@2")
    said = capsys.readouterr().out
    assert "methods to tune first: 1 (12 settings, 1 seed each)" in said
    assert "MLP: at=" in said
    again = said.split("the next time: --settings ")[1].splitlines()[0].split()
    assert [one.split("=")[0] for one in again] == ["at"]
    run(monkeypatch, "quickstart", *short, "--settings", "kd=10@2", *again)
    assert "tune" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run(monkeypatch, "quickstart", *short, "--settings", "nothing=1")
    assert "no method is called nothing" in capsys.readouterr().err
