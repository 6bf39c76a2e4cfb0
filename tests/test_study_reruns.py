"""The study called again: nothing stale is read, no score is lost, no parts are left out."""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import LocalDegreeProfile

from examples.study import (
    __main__,
    after,
    corrupt,
    data,
    files,
    fit,
    graphs,
    robustness,
    similarity,
    statistics,
    work,
)
from examples.study.ablation import Cell
from tests.planted_study import MADE, file

ALIKE = {"cka": 0.5, "cka_null": 0.0, "global": 0.5, "global_null": 0.0}


def read(folder: Path) -> statistics.Found:
    (found,) = statistics.read(folder)
    return found


# Lines --------------------------------------------------------------------------------------------


def test_a_score_of_zero_is_a_score(tmp_path: Path) -> None:
    file(tmp_path, {**MADE, "none": [0.0, 80.0, 0.0, 82.0, -0.0]})
    (column,) = read(tmp_path).columns
    assert column.cells["none"].failed == 0
    assert column.cells["none"].mean == pytest.approx(162 / 5)


def test_methods_of_other_models_are_not_compared(tmp_path: Path) -> None:
    """As after trials of another number of seeds, which chose another teacher."""
    file(tmp_path, MADE)
    (path,) = tmp_path.glob("*.jsonl")
    header, lines = statistics.schedule.cells(path)
    assert statistics.summary(header, lines, {}).columns[0].cells.keys() == MADE.keys() - {
        "teacher"
    }
    job = next(job for job in lines if job.is_teacher)
    trials = [one for one in lines[job] if one["phase"] == "trial"]
    chosen = trials[1]["options"]  # the second, where the first was
    lines[job] += [one | {"seed": 1, "validation": 10.0 + 500 * (one["options"] == chosen)}
                   for one in trials]  # fmt: skip
    lines[job] += [one | {"options": chosen} for one in lines[job] if one["phase"] == "test"]
    (column,) = statistics.summary(header, lines, {}).columns
    assert column.teaching.options == chosen
    assert column.cells.keys() == {"none"}
    assert column.unfinished == {"kd": 0, "gcrd": 0, "lsp": 0}


def line(options: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "MLP", "teacher": "GAT", "method": "kd", "given": "a", "options": options,
            "seed": 0, **more}  # fmt: skip


OLD, NEW = {"weight": 1.0}, {"weight": 3.2}


def test_pages_read_the_last_setting_and_each_level() -> None:
    tested = {"phase": "test", "similarity": ALIKE}
    lines = [
        line(OLD, test=80.0, **tested), line(NEW, test=90.0, **tested),
        line(NEW, test=70.0, **tested) | {"seed": 1},
        line(OLD, test=60.0, **tested) | {"method": "gcrd"},
        line(OLD, test=50.0, level="graph", **tested) | {"method": "gcrd"},
        line(NEW, phase="trial", validation=99.0),
    ]  # fmt: skip
    found = similarity.columns(lines)["GAT", "MLP"]
    assert {name: runs["accuracy"] for name, runs in found.items()} == {
        "kd": [90.0, 70.0], "gcrd": [60.0], "gcrd@graph": [50.0],
    }  # fmt: skip


def test_curves_read_the_last_setting_and_pass_over_failed_runs() -> None:
    clean, noisy = ({"when": "test", "kind": kind, "share": share}
                    for kind, share in (("none", 0.0), ("noise", 0.2)))  # fmt: skip
    lines = [
        line(OLD, test=80.0, **clean), line(OLD, test=10.0, **noisy),
        line(NEW, test=90.0, **clean), line(NEW, test=50.0, **noisy),
        line(NEW, failed="it diverged", **noisy) | {"seed": 1},
        line(NEW, failed="on corrupted data", clean=70.0, **noisy) | {"when": "train"},
        line(NEW, test=60.0, clean=None, **noisy) | {"when": "train", "seed": 1},
    ]  # fmt: skip
    for when, score, mean in (
        ("test", "test", 50.0),
        ("train", "test", 60.0),
        ("train", "clean", 70.0),
    ):
        found = robustness.curves(lines, "GAT", "MLP", when, score)["noise"]["kd"]
        assert [(point.share, point.mean) for point in found] == [(0.0, 90.0), (0.2, mean)]


def test_similarity_runs_again_what_was_made_at_another_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = work.Known({"dropout": 0.0}, {"dropout": 0.2})
    settled, limits = work.Settled(known, NEW), work.Limits("", "", seeds=2)
    monkeypatch.setattr(after.work, "one_run", lambda *_, **__: {"test": 90.0})
    job = work.Job("Cora", "transductive", "MLP", "GAT", "kd")
    given = {"given": work.identity(known)}
    old = [line(OLD) | given, line(NEW), line(NEW) | given | {"seed": 1}]
    (found,) = after.measured(job, old, settled, limits)
    assert (found["seed"], found["options"]) == (0, NEW)


def test_teachers_of_other_data_or_other_layers_lie_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    job = work.Job("Cora", "transductive", "GAT", is_teacher=True)

    def folder(root: str) -> Path:
        return work.teachers_folder(job, "{}", 0, work.Limits(root, "runs"))

    before = folder("data")
    assert folder("data") == before != folder("elsewhere")
    changed = work.plan.TEACHERS["GAT"]._replace(fixed={"heads": 8})
    monkeypatch.setitem(work.plan.TEACHERS, "GAT", changed)
    assert folder("data") != before


def test_a_run_that_diverges_on_corrupted_data_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: Any) -> None:
        raise FloatingPointError("the loss is NaN")

    monkeypatch.setattr(robustness, "trained", lambda *_: (None, 1.0))
    monkeypatch.setattr(robustness, "problem", lambda *_: None)
    monkeypatch.setattr(robustness.fit, "scores", diverge)
    monkeypatch.setattr(robustness, "LEVELS", {"noise": (0.5,)})
    limits = work.Limits("", "", seeds=1)
    settled = work.Settled(work.Known(), NEW)
    job = work.Job("Cora", "transductive", "MLP")
    found = [*robustness.remaining(job, [], settled, limits)]
    assert [(one["when"], one["kind"], one["failed"]) for one in found] == [
        ("test", "none", "the loss is NaN"), ("test", "noise", "the loss is NaN"),
        ("train", "noise", "the loss is NaN"),
    ]  # fmt: skip
    assert [*robustness.remaining(job, found, settled, limits)] == []
    old = [one | {"options": OLD} for one in found]
    assert len([*robustness.remaining(job, old, settled, limits)]) == 3
    monkeypatch.setattr(robustness, "trained", diverge)  # on clean data, too
    again = [*robustness.remaining(job, [], settled, limits)]
    assert [one["failed"] for one in again] == ["the loss is NaN"] * 3


@pytest.mark.parametrize("level", ["node", "graph"])
def test_similarity_measures_every_method_that_was_run(level: str) -> None:
    """On graphs too, where KD and LSP compare nodes or nothing, and G-CRD either."""
    by = work.Job("Molecules", "transductive", "GIN-35", "GINE")
    ran = {by._replace(method="kd"), by._replace(method="gcrd", level=level)}
    cells: Any = SimpleNamespace(
        dataset="Molecules", lines={job: [{"phase": "test"}] for job in ran}
    )
    args = Namespace(part="similarity", setting="transductive", methods=None)
    problem: Any = SimpleNamespace(task="graph")
    jobs = after.in_column(Cell("Molecules", "GINE", "GIN-35", "graph"), args, cells, problem)
    assert {*jobs} == ran | {by._replace(method="none")}


# Scores -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "kept"),
    [(81.24853, 81.2485), (-0.813712, -0.8137), (0.000123456789, 0.000123457), (0.0, 0.0)],
)
def test_lines_hold_the_digits_that_count(score: float, kept: float) -> None:
    assert work.digits(score) == kept


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_small_differences_of_small_scores_are_told(scale: float) -> None:
    other = {seed: -scale * (1 + seed / 100) for seed in range(10)}
    scores = {seed: x + 4e-4 * scale * (1 + seed / 7) for seed, x in other.items()}
    assert statistics.difference(scores, other).p == pytest.approx(2 / 2**10)


def test_rows_of_per_cent_share_a_rank() -> None:
    """One row of 898 more is 0.1113 or 0.1114 of four digits; two up and one down are a tie."""
    gains = {0: 0.1113, 1: 0.1114, 2: -0.1114}
    other = dict.fromkeys(gains, 90.0)
    scores = {seed: 90 + gain for seed, gain in gains.items()}
    assert statistics.difference(scores, other).p == 1.0


def test_a_column_without_labels_is_no_score() -> None:
    made = data.Problem("regression", 2, [], {}, center=torch.zeros(2), spread=torch.ones(2))
    y = torch.tensor([[1.0, torch.nan], [3.0, torch.nan]])
    assert fit.score(torch.zeros(2, 2), y, made) == pytest.approx(-(5.0**0.5))
    with pytest.raises(FloatingPointError, match="No column has labels"):
        fit.score(torch.zeros(2, 2), torch.full((2, 2), torch.nan), made)


# Data ---------------------------------------------------------------------------------------------


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A graph without features, whose nodes of class 1 are rare, called Bare."""
    draw = torch.Generator().manual_seed(0)
    ends = torch.randint(200, (2, 900), generator=draw)
    y = torch.zeros(200).long().index_fill(0, torch.arange(0, 200, 40), 1)
    made = Data(edge_index=torch.cat([ends, ends.flip(0)], dim=1), y=y, num_nodes=200)
    monkeypatch.setitem(files.GENERATED, "Bare", lambda: {"all": [made]})
    caches = (data.load, data._prepared, data._with_hops)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.mark.usefixtures("bare")
def test_degrees_count_no_edge_that_is_not_there() -> None:
    """Those of unseen nodes, and those that a corruption has removed."""
    learn = data.problem("Bare", "", 0, "production").learn[0]
    own = LocalDegreeProfile()(Data(edge_index=learn.edge_index, num_nodes=learn.num_nodes)).x
    assert torch.equal(learn.x, own)
    assert not data.problem("Bare[remove=1.0]", "", 0).learn[0].x.any()
    for setting in ("transductive", "production"):  # noise stays noise
        noisy, clean = (data.problem(name, "", 0, setting) for name in ("Bare[noise=1.0]", "Bare"))
        assert not torch.equal(noisy.learn[0].x, clean.learn[0].x)


@pytest.mark.usefixtures("bare")
def test_a_seed_whose_part_has_one_class_is_told_before_anything_runs() -> None:
    args = Namespace(root="", setting="production", seeds=40, tuning_seeds=3, smoke=False,
                     teachers=["GAT"], students=["MLP"])  # fmt: skip
    with pytest.raises(SystemExit, match=r"no label of part \w+ has both values under seed \d+"):
        __main__.models_of("Bare", args)


def test_files_that_are_damaged_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Damaged:
        def __init__(self, root: str) -> None:
            raise EOFError

    monkeypatch.setattr("torch_geometric.datasets.Actor", Damaged)
    with pytest.raises(SystemExit, match=r"EOFError\. Its files belong in .*Actor; if they"):
        files.read("Actor", "somewhere")


def test_labels_and_codes_that_stand_for_something_else() -> None:
    assert graphs.labels(torch.tensor([2, -100, 0])).tolist() == [2, -1, 0]
    assert graphs.labels(torch.tensor([156, 0], dtype=torch.uint8)).tolist() == [156, 0]
    codes = Data(x=torch.tensor([[2_000_000_000], [7]]), num_nodes=2)
    (numbers,) = graphs._columns("Made", [codes], "x")
    assert numbers.is_floating_point()


def test_no_edges_are_added_where_there_are_none() -> None:
    empty = Data(x=torch.ones(4, 2), edge_index=torch.zeros(2, 0).long(), y=torch.arange(4) % 2)
    assert corrupt.corrupted(empty, {"add": 0.5}, 0).num_edges == 0
    assert corrupt.corrupted(empty, {"rewire": 0.5}, 0).num_edges == 0
