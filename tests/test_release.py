"""What a release says of itself, and whether it is so: version, recipe, SECURITY.md, llms.txt."""

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import yaml

import graphkd
from tests.test_package import pyproject

ROOT = Path(__file__).resolve().parents[1]
LLMS = (ROOT / "docs" / "llms.txt").read_text(encoding="utf-8")
# What runs code that a file or a text holds, starts a process, or opens a connection.
FORBIDDEN = {
    "asyncio", "cloudpickle", "dill", "ftplib", "http", "joblib", "marshal", "multiprocessing",
    "pickle", "pty", "requests", "runpy", "shelve", "socket", "ssl", "subprocess", "urllib",
    "urllib3", "xmlrpc",
}  # fmt: skip
CALLS = {"compile", "eval", "exec", "torch.load", "np.load", "numpy.load", "os.popen", "os.system"}


def recipe() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8"))


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert recipe()["context"]["version"] == graphkd.__version__ == citation["version"]


def test_the_recipe_needs_what_the_project_needs() -> None:
    project, names = (
        pyproject()["project"],
        {"torch": "pytorch", "torch_geometric": "pytorch_geometric"},
    )
    needs = {"python " + project["requires-python"]}
    for one in project["dependencies"]:
        name, bound = re.fullmatch(r"(\w+)(\S+)", one).groups()
        needs.add(f"{names[name]} {bound}")
    made = recipe()
    assert set(made["requirements"]["run"]) == needs
    assert set(made["requirements"]["host"]) >= set(pyproject()["build-system"]["requires"])
    about = made["about"]
    assert (about["summary"], about["license"]) == (project["description"], project["license"])


def calls(file: Path) -> list[tuple[str, ast.Call]]:
    found = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return [(ast.unparse(node.func), node) for node in found]


def test_the_package_reads_no_pickle_and_runs_no_text() -> None:
    for file in (ROOT / "graphkd").rglob("*.py"):
        imported = re.findall(r"^\s*(?:import|from) (\w+)", file.read_text(), re.MULTILINE)
        assert not FORBIDDEN & set(imported), file
        assert not CALLS & {name for name, _ in calls(file)}, file


def test_the_examples_read_weights_only() -> None:
    for file in (ROOT / "examples").rglob("*.py"):
        for name, call in calls(file):
            options = {option.arg: ast.unparse(option.value) for option in call.keywords}
            assert name != "torch.load" or options["weights_only"] == "True", file
            assert "allow_pickle" not in options, file


def test_llms_txt_names_what_there_is() -> None:
    names = set(re.findall(r"`(graphkd(?:\.\w+)*)`", LLMS))
    assert len(names) > 30
    for name in names:
        *path, last = name.split(".")
        found = getattr(importlib.import_module(".".join(path)), last) if path else graphkd
        assert found is not None
    exec(re.search(r"```python\n(.*?)```", LLMS, re.DOTALL)[1], {})


def test_llms_txt_leads_to_pages() -> None:
    (own,) = (target for target in re.findall(r"\]\((.+?)\)", LLMS) if target.endswith(".txt"))
    assert (ROOT / "tests" / own).exists()
    pages = re.findall(r"\]\((.+?)\.html\)", LLMS)
    assert pages
    pages.remove("auto_gallery/index")  # made of docs/gallery when the site is built
    assert not [page for page in pages if not (ROOT / "docs" / f"{page}.md").exists()]
