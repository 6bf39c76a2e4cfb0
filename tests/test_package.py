"""The package as a whole: the cost of its import, its public names, its signatures, its log."""

import inspect
import logging
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import graphkd
import graphkd.functional as G
from graphkd.ops import backends
from tests.contract import LOSSES, Loss, every

ROOT = Path(__file__).resolve().parents[1]

# Public names that are not losses of the table.
OTHERS = {
    "Graph",
    "HeteroLoss",
    "Tap",
    "TeacherStore",
    "WeightedSum",
    "__version__",
    "diagnostics",
    "freeze",
    "functional",
    "rows_of",
    "weights",
}
# Functions without a Module of their own: the teacher's side, and the parts that a Module sums.
FUNCTIONS_ALONE = {
    "dirichlet_energy",
    "fit_reliability_power",
    "high_frequency_loss",
    "link_context",
    "llp_distribution_loss",
    "llp_rank_loss",
    "low_frequency_loss",
    "measure_reliability",
    "precompute_global_lsp",
    "precompute_lsp",
    "random_walks",
    "rkd_angle_loss",
    "rkd_distance_loss",
}


def pyproject() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib", reason="is part of Python 3.11")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def extras() -> dict[str, list[str]]:
    """The names of what each extra of pyproject.toml needs."""
    needed = pyproject()["project"]["optional-dependencies"]
    return {key: [re.match(r"[\w-]+", one)[0] for one in some] for key, some in needed.items()}


def test_public_names() -> None:
    assert {loss.module.__name__ for loss in LOSSES} | OTHERS == set(graphkd.__all__)
    functions = {loss.function.__name__ for loss in LOSSES}
    assert functions | FUNCTIONS_ALONE == set(G.__all__)


def test_the_api_page_lists_the_public_names() -> None:
    listed: dict[str, list[str]] = {}
    module = ""
    for line in (ROOT / "docs" / "api" / "index.md").read_text(encoding="utf-8").splitlines():
        if said := re.fullmatch(r"\.\. currentmodule:: (\S+)", line):
            module = said[1]
        elif name := re.fullmatch(r" +(\w+)", line):  # a dotted name belongs to another module
            listed.setdefault(module, []).append(name[1])
    others = {"__version__", "diagnostics", "functional", "weights"}
    assert sorted(listed["graphkd"]) == sorted({*graphkd.__all__} - others)
    assert sorted(listed["graphkd.functional"]) == sorted(G.__all__)
    assert sorted(listed["graphkd.weights"]) == sorted(graphkd.weights.__all__)
    assert sorted(listed["graphkd.diagnostics"]) == sorted(graphkd.diagnostics.__all__)


@pytest.mark.parametrize("name", graphkd.diagnostics.__all__)
def test_docstrings_of_diagnostics(name: str) -> None:
    thing = getattr(graphkd.diagnostics, name)
    wanted = ["Example:", ">>>"]
    if name.islower():
        wanted += ["Args:", "Raises:"]
    if name.islower() and not name.startswith("plot_"):
        wanted += [".. math::", "Shapes:", "Source:"]
    text = inspect.getdoc(thing)
    assert not [part for part in wanted if part not in text]


def test_importing_takes_torch_only() -> None:
    code = (
        "import sys, torch; before = set(sys.modules); import graphkd;"
        "new = {m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names);"
        "print(' '.join(sorted(new)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"graphkd", "torch"}
    assert done.stderr == ""


@every()
def test_function_and_module_take_the_same_options(loss: Loss, options: dict) -> None:
    def names(thing) -> dict:
        return dict(inspect.signature(thing).parameters)

    function, built, called = names(loss.function), names(loss.module), names(loss.module.forward)
    called.pop("self")
    # The options of a Module beyond the formula: heads with their graph, and a queue with its ids.
    heads = {"dim_s", "dim_t", "proj_dim", "head", "head_takes_edges", "queue_size"}
    graph = {"edge_index", "ids"} if loss.projects and not loss.edges else set()
    own = heads | (graph - set(function)) | loss.module_only
    assert set(function) - loss.function_only == (set(built) | set(called)) - own
    for name, parameter in function.items():
        if name in loss.function_only:
            continue
        other = built.get(name) or called[name]
        assert parameter.default == other.default, name


@pytest.mark.parametrize(
    "thing", [*LOSSES, graphkd.WeightedSum, graphkd.HeteroLoss, graphkd.Graph, graphkd.Tap]
)
def test_docstrings_say_what_is_needed(thing) -> None:
    """A loss function's also says what is raised and where the formula comes from."""
    common = ["Example:", ">>>"]
    if not isinstance(thing, Loss):
        wanted = {thing: ["Raises:", *common]}
    else:
        common += ["Shapes:", ".. math::"]
        options = ["Args:"] if inspect.signature(thing.module).parameters else []
        wanted = {thing.function: ["Raises:", "Source:", *common], thing.module: common + options}
    for item, parts in wanted.items():
        text = inspect.getdoc(item)
        assert not [part for part in parts if part not in text], item


def test_auto_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    backends._log_choice.cache_clear()
    h_s, h_t = torch.randn(2, 9, 4).unbind()
    with caplog.at_level(logging.INFO, logger="graphkd"):
        for _ in range(3):
            G.gcrd_loss(h_s, h_t)
    assert [r.message for r in caplog.records] == [
        "gcrd_loss: backend 'auto' runs 'chunked' on cpu"
    ]


def test_scatter_is_used_or_raises() -> None:
    h_s, h_t, edges = torch.randn(9, 4), torch.randn(9, 5), torch.randint(0, 9, (2, 30))
    try:
        import torch_scatter  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="pip install --no-build-isolation 'graphkd"):
            G.lsp_loss(h_s, h_t, edges, backend="scatter")
    else:
        torch.testing.assert_close(
            G.lsp_loss(h_s, h_t, edges, backend="scatter"), G.lsp_loss(h_s, h_t, edges)
        )


def test_nothing_warns_in_ordinary_use() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for loss in LOSSES:
            h_s, h_t, edge_index = loss.inputs()
            loss.call(h_s, h_t, edge_index).backward()
