"""What follows the study's cells: the ablation, similarity, robustness and cost, on the digits."""

import json
import math
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Data

from examples.study import (
    __main__,
    ablation,
    corrupt,
    data,
    fit,
    methods,
    models,
    plan,
    robustness,
    similarity,
)

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
TINY = ["--datasets", "Digits", "--teachers", "GAT", "--students", "MLP", "--jobs", "1"]
TINY += ["--trials", "1", "--tuning-seeds", "1", "--seeds", "2", "--epochs", "3"]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the cells of KD and KD + G-CRD, the first measured as it was tested."""
    folder = tmp_path_factory.mktemp("study")
    run(folder, "--methods", "kd", "--similarity")
    run(folder, "--methods", "kd+gcrd")
    return folder


def run(folder: Path, *flags: str) -> None:
    before, sys.argv = sys.argv, ["study", *TINY, "--out", f"{folder}/out", *flags]
    sys.argv += ["--work", f"{folder}/work", "--root", f"{folder}/data"]
    try:
        __main__.main()
    finally:
        sys.argv = before


def lines(folder: Path, part: str = ".") -> list[dict[str, Any]]:
    text = (folder / "out" / part / "Digits-transductive.jsonl").read_text()
    found = [json.loads(line) for line in text.splitlines()]
    return [line for line in found if "known" not in line]


def scores_of(found: list[dict[str, Any]], method: str | None) -> dict[int, float]:
    return {
        line["seed"]: line["test"]
        for line in found
        if line.get("phase") == "test" and line.get("method") == method and "is_teacher" not in line
    }


# The ablation -------------------------------------------------------------------------------------


def test_every_variant_is_a_loss() -> None:
    """Built as in a run, it gives a gradient to the student's rows."""
    graph = data.problem("Digits", "", 0).learn[0]
    h_t, z_t = torch.randn(graph.num_nodes, 6), torch.randn(graph.num_nodes, 10)
    case = methods.Case(4, 6, graph, methods.Teacher(torch.nn.Identity(), h_t, z_t), max_samples=64)
    task = torch.nn.Linear(4, 1)
    for method in [name for group in ablation.variants("node").values() for name in group]:
        h_s = torch.randn(graph.num_nodes, 4, requires_grad=True)
        setting = methods.Setting(2.0, 0.5 if "temperature" in plan.space(method, 0.0) else None)
        loss, given = methods.objective(method, {method: setting, "kd": methods.Setting(9)}, case)
        total, _ = loss(
            h_s=h_s, h_t=h_t, z_s=h_s @ torch.ones(4, 10), z_t=z_t, edge_index=graph.edge_index,
            task_loss=task(h_s).mean(), **given,
        )  # fmt: skip
        assert torch.autograd.grad(total, h_s)[0].abs().sum() > 0, method
        balanced = method.startswith("balanced")
        assert loss.balance == balanced
        tuned = {2.0, 9.0} if methods.beside_kd(method) else {2.0}
        assert set(loss.weights.values()) == ({1.0} if balanced else tuned)
        assert ("weight" in plan.space(method, 0.0)) != balanced


def test_labelled_rows_alone_are_distilled() -> None:
    graph = data.problem("Digits", "", 0).learn[0]
    h = torch.randn(graph.num_nodes, 4, requires_grad=True)
    case = methods.Case(4, 4, graph, methods.Teacher(torch.nn.Identity(), h.detach(), h.detach()))
    name = "gcrd[nodes=labelled,head=linear]"
    loss, given = methods.objective(name, {name: methods.Setting(1.0)}, case)
    total, _ = loss(h_s=h, h_t=torch.randn_like(h), **given)
    (gradient,) = torch.autograd.grad(total, h)
    assert torch.equal(gradient.abs().sum(dim=1) > 0, graph.train_mask)


def test_a_queue_knows_the_graphs_of_batches() -> None:
    """Small graphs with a teacher's rows, in batches of 16: all enter under their numbers."""

    def graph(i: int) -> Data:
        edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
        x, y = torch.randn(3, 5), torch.tensor([i % 2])
        return Data(x=x, y=y, edge_index=edges)

    graphs, h_t, z_t = [graph(i) for i in range(48)], torch.randn(48, 6), torch.randn(48, 2)
    read = {"h_graph": lambda rows: h_t[rows], "z_t": lambda rows: z_t[rows]}
    problem = data.Problem(
        "binary", 2, graphs, {"val": graphs[:8]}, per_graph=True, batch=16, taught=read
    )
    model = models.build("GIN", problem, {"width": 4, "layers": 2, "dropout": 0.0, "norm": None})
    method = "gcrd[queue_size=1024,max_samples=None]"
    assert method in ablation.variants("graph")["queue"]
    case = methods.Case(4, 6, None, methods.Teacher(torch.nn.Identity(), h_t, z_t))
    loss, given = methods.objective(method, {method: methods.Setting(1.0, 0.5)}, case)
    taught = fit.Taught(loss, given, method, case, "graph")
    fit.fit(model, problem, fit.Training(epochs=2), taught)
    ids = loss.losses["gcrd"].queue.ids
    assert set(ids.tolist()) - {-1} == set(range(48))
    found = similarity.measured(model, problem)
    assert {"cka", "global", "overlap"} < found.keys()
    assert "local" not in found


def test_the_ablation_has_files_of_its_own_and_resumes(cells: Path) -> None:
    flags = ("--part", "ablation", "--methods", "balanced:kd+gcrd", "gcrd[symmetric=True]")
    run(cells, *flags)
    path = cells / "out" / "ablation" / "Digits-transductive.jsonl"
    whole, before = lines(cells, "ablation"), lines(cells)
    assert len(whole) == 1 + 2 * 3
    assert not any("failed" in line for line in whole)
    balanced = next(line for line in whole if line.get("method") == "balanced:kd+gcrd")
    assert balanced["options"].keys() == {"temperature", "dropout"}
    path.write_text(path.read_text()[:-300])
    run(cells, *flags)
    again = lines(cells, "ablation")
    for line in [*whole, *again]:
        line.pop("seconds", None)
    assert again == whole
    assert lines(cells) == before


def test_a_part_says_what_to_run_first(cells: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"--students MLP --methods kd,"):
        run(tmp_path, "--part", "ablation")
    with pytest.raises(SystemExit, match=r"--methods kd lsp glsp gcrd,"):
        run(cells, "--part", "robustness")


def test_a_part_leaves_the_line_that_another_process_writes(cells: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "Digits-transductive.jsonl"
    path.parent.mkdir()
    before = (cells / "out" / path.name).read_text() + '{"model": "MLP", "teach'
    path.write_text(before)
    run(tmp_path, "--part", "ablation", "--methods", "balanced:lsp")
    assert path.read_text() == before
    run(tmp_path, "--methods", "kd", "--seeds", "3")
    assert [json.loads(line) for line in path.read_text().splitlines()][-1]["seed"] == 2


# Similarity ---------------------------------------------------------------------------------------


def test_similarity_is_measured_of_the_same_runs(cells: Path) -> None:
    """In their lines, if asked for; else afterwards, with the same scores to the digit."""
    run(cells, "--part", "similarity", "--methods", "kd+gcrd")
    plain, later = lines(cells), lines(cells, "similarity")
    run(cells, "--part", "similarity")
    assert lines(cells, "similarity") == later  # without names, those that were not measured
    assert all("similarity" in line for line in plain if line.get("method") == "kd"
               and line["phase"] == "test")  # fmt: skip
    assert {line["method"] for line in later[1:]} == {"none", "kd+gcrd"}
    assert scores_of(later, "kd+gcrd") == scores_of(plain, "kd+gcrd")
    assert scores_of(later, "none") == scores_of(plain, None)
    (column,) = similarity.columns([*plain, *later]).values()
    assert column.keys() == {"none", "kd", "kd+gcrd"}
    for runs in column.values():
        assert all(len(values) == 2 for values in runs.values())
        assert all(-0.2 < value <= 1 for name in similarity.MEASURES for value in runs[name])
    panels = similarity.figure({f"{i}": column for i in range(4)}).axes
    assert [ax.axison for ax in panels] == [True] * 4 + [False] * 2


def test_measures_are_calibrated_against_chance() -> None:
    row = {"cka": 0.6, "cka_null": 0.2, "local": None, "local_null": None}
    assert similarity.calibrated(row, "cka") == pytest.approx(0.5)
    assert math.isnan(similarity.calibrated(row, "local"))
    assert math.isnan(similarity.calibrated(row, "global"))


def test_rank_correlation_over_methods() -> None:
    """A method is a point, whatever its seeds; a rising column has correlation 1."""

    def column(accuracy: list[float]) -> similarity.Column:
        return {
            f"{i}": {"cka": [i / 10, i / 10 + 0.01], "accuracy": [x - 1, x + 1]}
            for i, x in enumerate(accuracy)
        }

    rising = similarity.rank_correlation(column([80, 81, 83, 90, 91, 92]), "cka")
    assert rising.value == pytest.approx(1)
    assert (rising.low, rising.units) == (pytest.approx(1), 6)
    mixed = similarity.rank_correlation(column([81, 90, 80, 85, 84, 83]), "cka")
    assert -1 <= mixed.low < mixed.value < mixed.high <= 1
    assert similarity.spearman(column([1, 2, 4, 3]), "cka") == pytest.approx(0.8)


# Robustness ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graph() -> Data:
    return data.problem("Digits", "", 0).learn[0]


def changed(kind: str, share: float, seed: int = 0) -> Data:
    return data.problem(f"Digits[{kind}={share}]", "", seed).learn[0]


def test_noise_and_masks(graph: Data) -> None:
    assert torch.equal(changed("noise", 0.0).x, graph.x)
    full, half = changed("noise", 1.0).x, changed("noise", 0.5).x
    torch.testing.assert_close(half, (graph.x + full) / 2)
    for side in (full, graph.x):
        torch.testing.assert_close(side.mean(0), graph.x.mean(0), atol=0.05, rtol=0)
        torch.testing.assert_close(side.std(0), graph.x.std(0), atol=0.05, rtol=0)
    assert torch.equal(changed("noise", 1.0).x, full)
    assert not torch.equal(changed("noise", 1.0, seed=1).x, full)
    masked = changed("mask", 0.4).x[graph.x != 0] == 0
    assert masked.float().mean() == pytest.approx(0.4, abs=0.01)
    assert torch.equal(changed("mask", 1.0).x1, torch.zeros_like(graph.x))  # SIGN's, too


def test_edges_come_and_go(graph: Data) -> None:
    def pairs(found: Data) -> set[tuple[int, int]]:
        return {*zip(*found.edge_index.tolist(), strict=True)}

    before = pairs(graph)
    removed, added, rewired = (pairs(changed(kind, 0.4)) for kind in ("remove", "add", "rewire"))
    assert removed < before < added
    assert len(removed) == pytest.approx(0.6 * len(before), rel=0.05)
    assert len(added) == pytest.approx(1.4 * len(before), rel=0.01)
    assert len(rewired) == pytest.approx(len(before), rel=0.05)
    assert len(rewired & before) == pytest.approx(0.6 * len(before), rel=0.05)
    assert not pairs(changed("remove", 1.0))
    for found in (removed, added, rewired):
        assert {(j, i) for i, j in found} == found
    sparse = changed("remove", 1.0).adj_t  # which GraphSAGE multiplies with
    assert sparse.values().numel() == 0


def test_wrong_labels_are_never_those_of_the_test(graph: Data) -> None:
    wrong = changed("labels", 0.4).y != graph.y
    known = graph.train_mask | graph.val_mask
    assert int(wrong.sum()) == round(0.4 * int(known.sum()))
    assert not (wrong & ~known).any()
    several = Data(y=torch.zeros(1000, 3), train_mask=torch.ones(1000).bool(),
                   val_mask=torch.zeros(1000).bool())  # fmt: skip
    turned = corrupt.corrupted(several, {"labels": 0.25}, 0).y
    assert turned.mean() == pytest.approx(0.25, abs=0.03)
    assert several.y.sum() == 0


def test_unknown_corruptions_are_refused() -> None:
    with pytest.raises(SystemExit, match="frost is no corruption: there are noise, mask"):
        changed("frost", 0.5)


def test_robustness_begins_at_the_cells(cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robustness, "LEVELS", {"noise": (0.5, 1.0), "labels": (0.6,)})
    run(cells, "--part", "robustness", "--methods", "kd+gcrd")
    found, plain = lines(cells, "robustness")[1:], lines(cells)
    assert len(found) == 3 * 2 * (3 + 3)  # models, seeds, corruptions in the test and in training
    clean = {
        line["seed"]: line["test"]
        for line in found
        if line["kind"] == "none" and line.get("method") == "kd+gcrd"
    }
    assert clean == scores_of(plain, "kd+gcrd")
    curves = {
        when: robustness.curves([*plain, *found], "GAT", "MLP", when) for when in ("test", "train")
    }
    assert curves["test"].keys() == {"noise"}
    assert curves["train"].keys() == {"noise", "labels"}
    for by_kind in curves.values():
        for by_method in by_kind.values():
            assert by_method.keys() == {"teacher", "none", "kd+gcrd"}
            first = by_method["kd+gcrd"][0]
            assert first.share == 0
            assert first.mean == pytest.approx(sum(clean.values()) / 2)
            assert first.low < first.mean < first.high
    drawn = robustness.figure(curves["train"], "accuracy, %")
    assert [ax.get_title() for ax in drawn.axes] == ["noise", "labels"]


# Cost ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")
def test_cost_of_a_method(cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import study_cost

    args = Namespace(
        study=cells / "out", work=cells / "work", root="", dataset="Digits", teacher="GAT",
        setting="transductive", student="MLP", epochs=2, trials=1, tuning_seeds=1,
    )  # fmt: skip
    for method in ("none", "kd+gcrd"):
        found = study_cost.measure(method, args)
        assert found["seconds"] > 0
        assert found["mib"] >= 0
    results, _ = study_cost.read(args)
    gain = study_cost.gain(results, study_cost.job_of(args, "kd+gcrd"))
    with_it, without = (scores_of(lines(cells), method) for method in ("kd+gcrd", None))
    assert gain["mean"] == pytest.approx(sum(with_it[k] - without[k] for k in (0, 1)) / 2)
