"""What the study refuses before it runs anything: methods, flags and parts that do not fit."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Data

from examples.study import __main__ as study
from examples.study import (
    ablation,
    after,
    data,
    files,
    fit,
    fits,
    methods,
    plan,
    robustness,
    schedule,
    work,
)  # fmt: skip
from tests.test_study_hetero import academic

EDGES = torch.stack([torch.arange(150), torch.arange(150).roll(1)])


def one(y: torch.Tensor) -> dict[str, list[Any]]:
    return {"all": [Data(x=torch.randn(150, 4), edge_index=EDGES, y=y)]}


def many(rows: int) -> dict[str, list[Any]]:
    """Graphs of five nodes, with three labels of each graph or node."""
    ring = torch.stack([torch.arange(5), torch.arange(5).roll(1)])
    drawn = [Data(x=torch.randn(5, 4), edge_index=ring, y=(torch.rand(rows, 3) < 0.5).float())
             for _ in range(30)]  # fmt: skip
    return {"all": drawn}


MADE = {
    "Numbers": lambda: one(torch.randn(150)),
    "Labels": lambda: one((torch.rand(150, 3) < 0.5).float()),
    "Types": lambda: {"all": [academic()]},
    "Nodes": lambda: many(5),
    "Graphs": lambda: many(1),
}


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, make in MADE.items():
        monkeypatch.setitem(files.GENERATED, name, make)
    data.load.cache_clear()
    data._uniform.cache_clear()


def refused(
    monkeypatch: pytest.MonkeyPatch, folder: Path, flags: str, match: str, *methods: str
) -> None:
    """The command line ends in a line, and before a run."""
    monkeypatch.setattr(schedule, "run", lambda *_: pytest.fail("it has begun"))
    named = ["--methods", *methods] if methods else []
    monkeypatch.setattr(sys, "argv", ["study", "--out", f"{folder}", *named, *flags.split()])
    with pytest.raises(SystemExit, match=match):
        study.main()


# Methods ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "need", "wanted"),
    [
        ("Types", "one graph of one node type",
         "crd krd llp mugsi tined fsp layers kd+gcrd[positives=edges] gcrd[nodes=labelled]"),
        ("Types", "one node type", "ff_g2m gkd gcrd[head=gcn] balanced:kd+gcrd"),
        ("Numbers", "one class for each row", "kd_std dkd dist ff_g2m krd mugsi teachers"),
        ("Labels", "one class for each row", "kd_std dkd kd+dist gcrd[positives=classes]"),
        ("Nodes", "one graph", "ft simkd vqgraph kd+gcrd[positives=classes]"),
        ("Nodes", "one graph of one node type", "tined kd[nodes=labelled]"),
        ("Graphs", "labels of nodes", "ff_g2m"),
        ("Numbers", "many graphs", "gcrd[queue_size=64,max_samples=None]"),
    ],
)  # fmt: skip
def test_methods_that_need_other_data_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dataset: str, need: str, wanted: str
) -> None:
    problem = data.problem(dataset, "", 0)
    assert [fits.lacking(method, problem) for method in wanted.split()] == [need] * len(
        wanted.split()
    )
    match = f"{need}.$"
    refused(monkeypatch, tmp_path, f"--datasets {dataset}", match, "kd", wanted.split()[0])


def test_two_classes_are_too_few_for_dkd() -> None:
    problem = data.problem("Digits", "", 0)
    assert fits.lacking("dkd", problem) is None
    assert fits.lacking("dkd", problem._replace(outputs=2)) == "three classes or more"


@pytest.mark.parametrize("dataset", ["Digits", *MADE])
def test_what_fits_can_be_built(dataset: str) -> None:
    problem = data.problem(dataset, "", 0)
    fits.check(plan.METHODS, problem, dataset, 1024)
    left = [name for name in methods.LOSSES if fits.lacking(name, problem) is None]
    fits.check(left, problem, dataset, 1024)
    assert dataset != "Digits" or left == [*methods.LOSSES]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("gcrd[foo=1]", "unexpected keyword argument 'foo'"),
        ("kd+fitnet[a=1]", "fitnet got an unexpected keyword argument 'a'"),
        ("kd[temperature=0]", "temperature must be positive"),
        ("gcrd[positives=all]", "positives are own, edges or classes, not all"),
        ("gcrd[nodes=few]", "nodes are all or labelled, not few"),
        ("gcrd+gcrd[head=linear]", "it names a loss twice"),
        ("fitnet+tined", "tined stands alone or after kd"),
        ("kd+teachers", "teachers stands alone"),
    ],
)
def test_arguments_and_sums_that_no_loss_takes_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str, message: str
) -> None:
    refused(monkeypatch, tmp_path, "", f"does not fit Digits: .*{message}", method)


@pytest.mark.parametrize("method", ["gcrd[temperature", "gcrd[temperature]", "gcrd]", "gcrd[a=1]b"])
def test_brackets_that_do_not_close_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path, method: str
) -> None:
    refused(monkeypatch, tmp_path, "", "2", method)
    assert f"{method} is not LOSS or LOSS[NAME=VALUE,...]" in capsys.readouterr().err


def test_the_default_leaves_out_what_does_not_fit() -> None:
    def default(dataset: str) -> set[str]:
        every = Namespace(root="", setting="transductive", smoke=False, methods=None)
        args = Namespace(**vars(every), teachers=["GAT"], students=["MLP"], max_samples=1024,
                         levels=["node"])  # fmt: skip
        return {job.method for job in study.jobs_of(dataset, "transductive", args)}

    assert default("Digits") - default("Numbers") == {"dist", "ff_g2m", "krd"}


def test_rows_of_graphs_are_for_losses_without_edges() -> None:
    both = ["node", "graph"]
    assert plan.levels("kd+gcrd", "graph", both) == both
    for method in ("gkd+gcrd", "at+fitnet", "gcrd[head=gcn]"):
        assert plan.levels(method, "graph", both) == ["node"]


def test_the_codebook_of_a_small_graph_has_fewer_codes() -> None:
    teacher = methods.Teacher(torch.nn.Identity(), torch.randn(9, 3), torch.randn(9, 2))
    term = methods.LOSSES["vqgraph"](methods.Case(2, 3, None, teacher))
    assert term.given["codebook"].shape == (9, 3)


# Flags --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flag",
    ["trials", "teacher-trials", "tuning-seeds", "seeds", "epochs", "patience", "max-samples",
     "jobs"],
)  # fmt: skip
@pytest.mark.parametrize("value", ["0", "-1", "1.5"])
def test_numbers_are_at_least_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path, flag: str,
    value: str,
) -> None:  # fmt: skip
    refused(monkeypatch, tmp_path, f"--{flag} {value}", "2")
    assert f"--{flag}: it is a whole number of at least 1, not {value}" in capsys.readouterr().err


def test_the_student_alone_is_no_method_to_run_first() -> None:
    alone = work.Job("Digits", "transductive", "MLP", "GAT", "none")
    message = after.first_run([alone, alone._replace(method="lsp")], "similarity")
    assert "--methods kd lsp," in message


# Parts --------------------------------------------------------------------------------------------


def variants(dataset: str, student: str, level: str = "node") -> dict[str, str]:
    """The levels of the ablation's jobs, by method."""
    args = Namespace(part="ablation", methods=None, setting="transductive", root="",
                     max_samples=1024)  # fmt: skip
    cells = schedule.Results(Path("nowhere"), dataset, "transductive", work.Limits("", ""))
    column = ablation.Cell(dataset, "GAT", student, level)
    return {job.method: job.level for job in after.jobs_of([column], args, cells)}


def test_variants_that_do_not_fit_are_left_out() -> None:
    whole = [*variants("Digits", "MLP")]
    assert whole == ablation.names("node")
    queue = set(ablation.names("graph")) - set(whole)
    of_one_graph = {name for name in whole if "positives=" in name or "nodes=" in name}
    assert {*variants("Nodes", "MLP")} == {*whole} - of_one_graph | queue
    assert {*variants("Numbers", "MLP")} == {x for x in whole if "positives=classes" not in x}
    types = variants("Types", "R-GCN")
    assert types.keys() == {x for x in whole if "=edges" not in x and "=labelled" not in x
                            and "balanced" not in x}  # fmt: skip
    graphs = variants("Graphs", "GIN-35", "graph")
    assert {*graphs} == {*whole} - of_one_graph | queue
    for name, level in graphs.items():
        assert level == ("node" if name in ("balanced:kd", "balanced:lsp") else "graph")


@pytest.mark.parametrize("dataset", ["Types", "Nodes", "Graphs", "Tiles"])
def test_robustness_is_of_one_graph(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dataset: str
) -> None:
    name = f"{dataset}-transductive.jsonl"
    limits = {"epochs": 1, "patience": 1, "max_samples": 1}  # others than these flags have
    header = {"dataset": dataset, "setting": "transductive", "limits": limits}
    (tmp_path / name).write_text(json.dumps(header) + "\n")
    flags = f"--part robustness --datasets {dataset}"
    refused(monkeypatch, tmp_path, flags, f"{dataset} is not one graph of one node type")


def test_labels_that_are_numbers_are_not_corrupted() -> None:
    every, some = (robustness.corruptions("train", kind) for kind in ("multiclass", "regression"))
    assert {*every} - {*some} == {("labels", share) for share in robustness.LEVELS["labels"]}
    limits = work.Limits("", "", seeds=1, kind="regression")
    job = work.Job("Numbers", "transductive", "MLP")
    settled = work.Settled(work.Known(), {})
    done = [
        {
            "when": when,
            "kind": kind,
            "share": share,
            "seed": 0,
            "model": "MLP",
            "test": -1.0,
            "options": {},
        }
        for when in ("test", "train")
        for kind, share in robustness.corruptions(when, "regression")
    ]
    assert [*robustness.remaining(job, done, settled, limits)] == []
    assert robustness.count(job, limits) == len(done)
    assert "labels" not in robustness.curves(done, "GAT", "MLP", "train")


def test_a_changed_data_set_is_corrupted_further() -> None:
    job = work.Job("Cora[labelled=5]", "transductive", "MLP")
    assert robustness.at(job, ("noise", 0.2)).dataset == "Cora[labelled=5,noise=0.2]"
    assert robustness.at(job, robustness.CLEAN) == job


def test_a_named_method_of_a_part_has_to_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    match = "krd does not fit Types: it needs one graph of one node type"
    for part in ("ablation", "similarity"):
        refused(monkeypatch, tmp_path, f"--part {part} --datasets Types", match, "krd")


def test_a_part_without_a_score_is_known_before_anything_runs() -> None:
    y = torch.arange(8) % 2
    problem = data.Problem("binary", 2, [], {"val": [Data(y=y)], "test": [Data(y=y.clamp(min=1))]})
    assert fit.part_without_area(problem) == "test"
    assert fit.part_without_area(problem._replace(kind="multiclass")) is None
    assert fit.part_without_area(problem._replace(held={"val": [Data(y=y)]})) is None
