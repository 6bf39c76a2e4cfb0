"""The study's statistics: planted lines give what formulas written out here give."""

import itertools
import json
import math
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from examples.study import facts, plan, report, schedule, search, statistics, work
from examples.study.methods import beside_kd
from examples.study.work import Job, Known, Limits

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {"epochs": plan.EPOCHS, "patience": plan.PATIENCE, "max_samples": 1024}
VERSIONS = dict.fromkeys(("graphkd", "torch", "torch_geometric", "python", "machine"), "1")
TRIALS, T_4 = 5, 2.776445  # the 97.5 % quantile of t with four degrees of freedom


def planted(job: Job, known: Known, scores: list[float | None], best: int = 0) -> list[dict]:
    """The lines of a job: trials of one seed, of which one is best, then tests; None fails."""
    axes, tried, lines = work.axes(job, known), {}, []
    while (point := search.propose(axes, tried, TRIALS)) is not None:
        value = 90.0 if len(tried) == best else 50.0 - len(tried)
        options = search.options(axes, point)
        lines.append({"phase": "trial", "options": options, "seed": 0, "validation": value})
        tried[point] = value
    options = search.options(axes, search.best(tried))
    for seed, score in enumerate(scores):
        line = {"phase": "test", "options": options, "seed": seed, "seconds": 3.0}
        done = {"validation": 90.0, "test": score, "epochs": 100}
        lines.append(line | ({"validation": None, "failed": "NaN"} if score is None else done))
    return lines


def file(
    folder: Path,
    methods: dict[str, list[float | None]],
    dataset: str = "Made",
    students: tuple[str, ...] = ("GCN",),
    setting: str = "transductive",
) -> None:
    """A file in which each student has these scores by method, "none" and "teacher" included."""
    lines: list[dict] = [{"dataset": dataset, "setting": setting, **VERSIONS, "limits": LIMITS}]
    chosen = {}

    def add(job: Job, known: Known, scores: list[float | None]) -> None:
        own = {k: v for k, v in job._asdict().items() if v != Job._field_defaults.get(k)}
        del own["dataset"], own["setting"]
        more = {"test_seen": 1.0} if setting == "production" else {}
        if known != Known():
            own["given"] = work.identity(known)
        for line in planted(job, known, scores):
            lines.append({**own, **line, **(more if "test" in line else {})})
        chosen[job.method] = line["options"]

    teacher = Job(dataset, setting, "GAT", is_teacher=True)
    add(teacher, Known(), methods["teacher"])
    for student in students:
        add(job := Job(dataset, setting, student), Known(), methods["none"])
        teaching = search.options(plan.TEACHERS["GAT"].axes, (0,) * 6)
        known = Known(search.options(plan.STUDENTS[student].axes, (0,) * 4), teaching)
        for method in methods:
            if method not in ("teacher", "none"):
                own = job._replace(teacher="GAT", method=method)
                beside = {"kd": chosen["kd"]} if beside_kd(method) else {}
                add(own, known._replace(**beside), methods[method])
    path = folder / f"{dataset.replace(':', '-')}-{setting}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


KD = [90.0, 91.0, 92.0, 93.0, 94.0]
MADE: dict[str, list[float | None]] = {
    "teacher": [95.0] * 5,
    "none": [80.0, 82.0, 81.0, 83.0, 84.0],
    "kd": KD,
    "gcrd": [score + gain for score, gain in zip(KD, (1.0, 2.0, 3.0, 4.0, 6.0), strict=True)],
    "lsp": [score + gain for score, gain in zip(KD, (1.0, -1.0, 0.0, 0.0, 0.5), strict=True)],
}


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
    # Two methods: Holm takes the smaller p, 2 / 2^5, twice.
    assert one.p == pytest.approx(2 * 2 / 2**5) == statistics.smallest_p(5, 2)
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
    ranks = statistics._ranks(column, ["none", "at", "kd"])
    assert ranks.tolist() == [2, 3, 1]


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
    methods = ["none", "kd", "gcrd"]
    columns = ranked(tmp_path, [[0, 1, 2], [0, 2, 1], [0, 1, 1], [0, 1, 2]], ("GCN", "MLP"))
    found = statistics.ranking(columns, methods)
    ranks = np.array([[3, 2, 1], [3, 1, 2], [3, 1.5, 1.5], [3, 2, 1]])
    n, k = ranks.shape
    assert found.samples == ["Made0", "Made1", "Made2", "Made3"]
    assert list(found.average.values()) == ranks.mean(0).tolist()
    # Friedman's statistic, with the correction for one tie of two; chi squared, two degrees.
    statistic = 12 / (n * k * (k + 1)) * (ranks.sum(0) ** 2).sum() - 3 * n * (k + 1)
    statistic /= 1 - (2**3 - 2) / (n * k * (k**2 - 1))
    assert found.p == pytest.approx(math.exp(-statistic / 2))
    # Demsar 2006, Table 5: q = 2.343 for three methods.
    assert found.critical == pytest.approx(2.343 * math.sqrt(k * (k + 1) / (6 * n)), abs=1e-3)
    lenient = statistics.ranking(columns, methods, by_student=True)
    assert len(lenient.samples) == 8
    assert lenient.critical == pytest.approx(found.critical / math.sqrt(2))
    assert lenient.average == found.average
    assert lenient.p < found.p
    assert statistics.ranking(columns[:2], methods) is None  # one data set
    assert statistics.ranking(columns, [*methods, "lsp"]) is None  # no column has it
    same = statistics.ranking(ranked(tmp_path, [[0, 0, 0]] * 4, ("GCN",)), methods)
    assert same.p == 1


def test_bars_join_what_does_not_differ() -> None:
    average = {"a": 1.0, "b": 1.8, "c": 2.7, "d": 5.0}
    found = statistics.Ranking(average, [], 0.0, 1.0)
    assert statistics.alike(found) == [("a", "b"), ("b", "c")]
    assert statistics.alike(found._replace(critical=5.0)) == [("a", "d")]
    assert statistics.alike(found._replace(critical=0.1)) == []


def test_a_file_that_is_being_written_is_read_and_left_alone(tmp_path: Path) -> None:
    file(tmp_path, MADE)
    path = tmp_path / "Made-transductive.jsonl"
    text = path.read_text() + '{"model": "GCN", "pha'
    path.write_text(text)
    assert statistics.read(tmp_path)[0].seeds == 5
    assert path.read_text() == text


def test_the_printed_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file(tmp_path, MADE | {"at": [None, 90.0, 90.0, 90.0, 90.0], "fitnet": KD[:2]})
    report.show(tmp_path)
    out = " ".join(capsys.readouterr().out.split())
    assert "Made: GAT → GCN, 5 seeds" in out
    assert "KD 92.0 ± 1.6 +10.00 ± 0.88" in out
    assert "5 seeds and 3 methods allow no p against KD below 0.19." in out
    assert "Runs that failed: AT (1)." in out
    assert "Not finished: FitNet (2 seeds)." in out
    assert f"Results: {tmp_path} (Made-transductive.jsonl)" in out


def test_errors_have_more_digits(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A score of a regression is minus an error, and two points mean nothing there."""
    file(tmp_path, {name: [-x / 100 for x in scores] for name, scores in MADE.items()})
    report.show(tmp_path)
    out = " ".join(capsys.readouterr().out.split())
    assert "KD −0.920 ± 0.016 −0.1000 ± 0.0088" in out
    assert "two points" not in out


def test_facts_of_the_digits(tmp_path: Path) -> None:
    limits = Limits("data", "", trials=TRIALS, tuning_seeds=1)
    job = Job("Digits", "transductive", "MLP")
    results = schedule.Results(tmp_path, "Digits", "transductive", limits)
    for line in planted(job, Known(), KD):
        results.add(job, line)
    facts.write(results, limits)
    found = json.loads((tmp_path / "Digits-transductive.json").read_text())
    assert found["rows"] == {"train": 50, "val": 500, "test": 898}
    assert (found["nodes"], found["features"], found["split_is_drawn"]) == (1797, 64, True)
    assert found["parameters"] == {"student MLP": 64 * 64 + 64 + 64 * 10 + 10}


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and tables of a complete data set, one with a student less, and one half done."""
    pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    every = MADE | {name: KD for name in plan.METHODS if name not in MADE}
    file(tmp_path, every, "One", ("GCN", "MLP"))
    file(tmp_path, every, "Two:Half", ("GCN",))
    file(tmp_path, {name: MADE[name] for name in ("teacher", "none", "kd")}, "Three", ("MLP",),
         "production")  # fmt: skip
    summary = __import__("_study_summary")
    blocks = summary.study_blocks(tmp_path)
    assert list(blocks) == ["study summary", "study data sets", "study details"]
    sections = blocks["study data sets"].split("\n### ")
    titles = [one.splitlines()[0] for one in sections[1:]]
    assert titles == ["One", "Three, production", "Two:Half"]
    assert "over 2 data sets" in " ".join(blocks["study summary"].split())
    assert "Not complete" not in sections[3]
    assert "GAT → MLP: 18 methods not begun." in sections[2]
    command = "--datasets Three --out benchmarks/results/study --setting production --seeds 5"
    assert f"{command} --tuning-seeds 1 --trials 5`" in " ".join(sections[2].split())
    figures = __import__("_study_figures")
    figures.draw_study(tmp_path, tmp_path)
    drawn = {f"_static/{path.name}" for path in tmp_path.glob("*.svg")}
    assert drawn == {word for text in blocks.values() for word in text.split() if ".svg" in word}
    assert summary.study_blocks(tmp_path / "none") == {}


def test_report_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    file(tmp_path, MADE)
    before = {path.name for path in tmp_path.iterdir()}
    monkeypatch.setattr(sys, "argv", ["study", "--report", "--out", str(tmp_path)])
    runpy.run_module("examples.study", run_name="__main__")
    assert "GAT → GCN" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == before
