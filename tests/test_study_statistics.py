"""The study's statistics: planted lines give what formulas written out here give."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from examples.study import plan, ranks, report, schedule, search, statistics, work
from examples.study.work import Job, Known
from tests.planted_study import KD, MADE, T_4, TRIALS, file, planted


@pytest.fixture
def column(tmp_path: Path) -> statistics.Column:
    file(tmp_path, MADE)
    (found,) = statistics.read(tmp_path)
    assert (found.seeds, found.tuning_seeds, len(found.columns)) == (5, 1, 1)
    assert found.runs == 5 * (TRIALS + 5)
    return found.columns[0]


def by_hand(pairs: list[float]) -> float:
    """Wilcoxon's p: all ways to put signs to the ranks, mean ranks for ties, no zeros."""
    sizes = [abs(x) for x in pairs if x]
    ranks = [np.mean([k + 1 for k, y in enumerate(sorted(sizes)) if y == x]) for x in sizes]
    total = sum(r for r, x in zip(ranks, [x for x in pairs if x], strict=True) if x > 0)
    ways = [sum(r for r, s in zip(ranks, signs, strict=True) if s)
            for signs in itertools.product((0, 1), repeat=len(ranks))]  # fmt: skip
    middle = sum(ranks) / 2
    return float(np.mean([abs(way - middle) >= abs(total - middle) for way in ways]))


def test_cells_are_means_of_the_chosen_setting(column: statistics.Column) -> None:
    kd = column.cells["kd"]
    assert kd.mean == pytest.approx(92)
    assert kd.sd == pytest.approx(math.sqrt(2.5))
    assert (kd.trials, kd.failed, kd.seconds) == (TRIALS, 0, 0.03)
    assert column.gap == pytest.approx(95 - 82)
    assert not column.close
    assert list(column.cells) == ["none", "kd", "lsp", "gcrd"]  # the plan's order


def test_differences_are_paired_with_t_intervals(column: statistics.Column) -> None:
    found = statistics.differences(column.cells, "kd")
    assert list(found) == ["lsp", "gcrd"]
    gains = np.array([1.0, 2.0, 3.0, 4.0, 6.0])
    half = T_4 * math.sqrt(((gains - gains.mean()) ** 2).sum() / 4) / math.sqrt(5)
    one = found["gcrd"]
    assert (one.n, one.mean) == (5, pytest.approx(3.2))
    assert one.low == pytest.approx(3.2 - half, abs=1e-5)
    assert one.high == pytest.approx(3.2 + half, abs=1e-5)
    # G-CRD is alone in its family, so that its p, 2 / 2^5, stays. Both are LSP's.
    assert one.p == pytest.approx(2 / 2**5) == statistics.smallest_p(5, 1)
    assert statistics.smallest(column.cells) == {1: one.p, 2: 2 * one.p}
    assert set(statistics.differences(column.cells, "none")) == {"kd", "lsp", "gcrd"}


@pytest.mark.parametrize(
    "pairs",
    [[1.0, 2.0, 3.0, 4.0, 6.0], [1.0, -1.0, 0.0, 0.0, 0.5], [1, 1, 1, -2, 2, 0, 3], [0.0, 0.0],
     [2.0], [-1.5, -1.5, 0.5, 0.5, 0.5, 0.5, 0.5, 3.0, 3.0, 1.0]],
    ids=str,
)  # fmt: skip
def test_wilcoxon_is_exact_with_ties(pairs: list[float]) -> None:
    assert statistics.wilcoxon(np.array(pairs)) == pytest.approx(by_hand(pairs))


def test_wilcoxon_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    pairs = np.random.default_rng(0).normal(0.4, size=25).round(3)
    assert statistics.wilcoxon(pairs) == pytest.approx(stats.wilcoxon(pairs).pvalue)


def test_holm() -> None:
    # 0.01 * 4; then 0.02 * 3; 0.03 * 2 is no less; 0.9 * 1; the order stays.
    found = statistics.holm([0.9, 0.01, 0.03, 0.02])
    assert found == pytest.approx([0.9, 0.04, 0.06, 0.06])
    assert statistics.holm([0.5, 0.6]) == [1, 1]
    assert statistics.holm([]) == []


def test_missing_seeds_and_failed_runs(tmp_path: Path) -> None:
    half = {"fitnet": KD[:2], "at": [None, 90.0, 90.0, 90.0, 90.0], "glsp": [None] * 5}
    file(tmp_path, MADE | half)
    (found,) = statistics.read(tmp_path)
    column = found.columns[0]
    assert column.unfinished == {"fitnet": 2}
    assert column.cells["at"].failed == 1
    assert column.cells["at"].mean == 90
    assert math.isnan(column.cells["glsp"].mean)
    against = statistics.differences(column.cells, "kd")
    assert against["at"].n == 4
    assert against["at"].mean == pytest.approx(90 - np.mean(KD[1:]))
    assert "glsp" not in against
    # What failed at a seed ranks last, whatever its other seeds have.
    assert ranks._ranks(column, ["none", "at", "kd"]).tolist() == [2, 3, 1]


def test_a_single_seed_has_no_interval(tmp_path: Path) -> None:
    file(tmp_path, {name: scores[:1] for name, scores in MADE.items()})
    (found,) = statistics.read(tmp_path)
    one = statistics.differences(found.columns[0].cells, "kd")["gcrd"]
    assert (one.n, one.mean, one.p) == (1, 1, 1)
    assert math.isnan(one.low)
    report.show(tmp_path)


@pytest.mark.parametrize(("best", "edges"), [(0, []), (4, ["weight"])])
def test_edges(best: int, edges: list[str]) -> None:
    """The sweep has tried the first weight and two on either side; dropout has kept one value."""
    alone = Job("Made", "transductive", "GCN")
    teacher = Job("Made", "transductive", "GAT", is_teacher=True)
    job = alone._replace(teacher="GAT", method="lsp")
    lines = {one: planted(one, Known(), KD) for one in (alone, teacher)}
    known = schedule.known(job, lines, statistics.ANY._replace(tuning_seeds=1))
    given = {"given": work.identity(known)}
    lines[job] = [line | given for line in planted(job, known, KD, best)]
    cell = statistics.cell(job, lines)
    assert (cell.edges, cell.single) == (edges, ["dropout"])


def test_runs_at_another_setting_do_not_count() -> None:
    """As when a longer search has found a better one after the tests."""
    job = Job("Made", "transductive", "GCN")
    axes, lines = plan.STUDENTS["GCN"].axes, planted(job, Known(), KD)
    better = {"options": search.options(axes, (0, 7, 0, 0)), "seed": 0, "validation": 99.0}
    lines.append({"phase": "trial", **better})
    assert statistics.cell(job, {job: lines}).runs == 0
    lines.append({"phase": "test", **better, "test": 70.0, "seconds": 1.0, "epochs": 9})
    cell = statistics.cell(job, {job: lines})
    assert (cell.scores, cell.trials, cell.edges) == ({0: 70.0}, TRIALS + 1, ["lr"])


def ranked(tmp_path: Path, gains: list[list[float]], students: tuple[str, ...]) -> list:
    """Columns of data sets in which three methods are so many points above 80."""
    for k, own in enumerate(gains):
        methods = {name: [80.0 + gain, 80.5 + gain] for name, gain in zip("abc", own, strict=True)}
        file(tmp_path, {"teacher": [90.0] * 2, "none": methods["a"], "kd": methods["b"],
                        "gcrd": methods["c"]}, f"Made{k}", students)  # fmt: skip
    return [column for found in statistics.read(tmp_path) for column in found.columns]


def test_ranks_and_friedman_by_hand(tmp_path: Path) -> None:
    columns = ranked(tmp_path, [[0, 1, 2], [0, 2, 1], [0, 1, 1], [0, 1, 2]], ("GCN", "MLP"))
    found = ranks.ranking(columns)
    placed = np.array([[3, 2, 1], [3, 1, 2], [3, 1.5, 1.5], [3, 2, 1]])
    n, k = placed.shape
    assert found.samples == ["Made0", "Made1", "Made2", "Made3"]
    assert list(found.average.values()) == placed.mean(0).tolist()
    # Friedman's statistic, with the correction for one tie of two; chi squared, two degrees.
    statistic = 12 / (n * k * (k + 1)) * (placed.sum(0) ** 2).sum() - 3 * n * (k + 1)
    statistic /= 1 - (2**3 - 2) / (n * k * (k**2 - 1))
    assert found.p == pytest.approx(math.exp(-statistic / 2))
    # Demsar 2006, Table 5: q = 2.343 for three methods.
    assert found.critical == pytest.approx(2.343 * math.sqrt(k * (k + 1) / (6 * n)), abs=1e-3)
    lenient = ranks.ranking(columns, by_student=True)
    assert len(lenient.samples) == 8
    assert lenient.critical == pytest.approx(found.critical / math.sqrt(2))
    assert lenient.average == found.average
    assert lenient.p < found.p
    assert ranks.ranking(columns[:6]) is None  # three data sets
    lacking = columns[0]._replace(cells={"none": columns[0].cells["none"]})
    assert ranks.ranking([lacking, *columns]) == found  # a column without KD is left out
    same = ranks.ranking(ranked(tmp_path, [[0, 0, 0]] * 4, ("GCN",)))
    assert same.p == 1


def test_bars_join_what_does_not_differ() -> None:
    average = {"a": 1.0, "b": 1.8, "c": 2.7, "d": 5.0}
    found = ranks.Ranking(average, [], 0.0, 1.0)
    assert ranks.alike(found) == [("a", "b"), ("b", "c")]
    assert ranks.alike(found._replace(critical=5.0)) == [("a", "d")]
    assert ranks.alike(found._replace(critical=0.1)) == []
