"""What the study prints and writes of planted lines, and of its page."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.study import facts, plan, report, schedule, statistics
from examples.study.work import Job, Known, Limits
from tests.planted_study import KD, MADE, TRIALS, file, planted

ROOT = Path(__file__).resolve().parents[1]


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
    assert "Against KD, no p can be below 0.062 among 1 method, 0.19 among 3 methods." in out
    assert "Runs that failed: AT (1)." in out
    assert "Not finished: FitNet (2 seeds)." in out
    assert f"Results: {tmp_path} (Made-transductive.jsonl)" in out


def test_names_keep_their_brackets(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file(tmp_path, MADE | {"gcrd[head=linear]": KD}, "Made[labelled=2]")
    report.show(tmp_path)
    out = " ".join(capsys.readouterr().out.split())
    assert "Made[labelled=2]: GAT → GCN, 5 seeds" in out
    assert "(Made[labelled=2]-transductive.jsonl)" in out


def test_a_difference_is_bold_and_no_column_is_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    scores = {name: [*x, *x] for name, x in MADE.items()}
    file(tmp_path, scores | {"none": [x - 10 for x in scores["kd"]], "kd*": scores["kd"]})
    report.show(tmp_path)
    assert "[b]" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    report.show(tmp_path)
    out = capsys.readouterr().out
    assert "\x1b[1m+10.00 ± 0.00\x1b[0m" in out
    assert "…" not in out


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


def check_chart(figure: Any) -> None:
    """What stands in a box stays in it; G-CRD is above KD in no pair of five seeds."""
    (ax,) = figure.axes
    figure.canvas.draw()
    boxes = [patch.get_window_extent() for patch in ax.patches]
    texts = {text.get_text(): text.get_window_extent() for text in ax.texts if text.get_text()}
    lines = {" ".join(text.replace("\u00a0", "").split()) for text in texts}
    assert "against KD G-CRD, KD + G-CRD: 0·5·0" in lines
    for text, extent in texts.items():
        for box in boxes:
            if box.overlaps(extent):
                assert box.x0 < extent.x0 < extent.x1 < box.x1, text
                assert box.y0 < extent.y0 < extent.y1 < box.y1, text


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and tables of a complete data set, one with a student less, and one half done."""
    pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    every = MADE | {name: KD for name in plan.METHODS if name not in MADE}
    file(tmp_path, every, "One", ("GCN", "MLP"))
    for name in ("Two:Half", "Zeta", "Zulu"):
        file(tmp_path, every, name, ("GCN",))
    file(tmp_path, {name: MADE[name] for name in ("teacher", "none", "kd")}, "Three", ("MLP",),
         "production")  # fmt: skip
    summary = __import__("_study_summary")
    blocks = summary.study_blocks(tmp_path) | summary.data_blocks(tmp_path)
    assert list(blocks) == ["study summary", "study details", "study data sets"]
    sections = ("\n" + blocks["study data sets"]).split("\n## ")
    titles = [one.splitlines()[0] for one in sections[1:]]
    assert titles == ["One", "Three, production", "Half", "Zeta", "Zulu"]
    assert "over 4 data sets" in " ".join(blocks["study summary"].split())
    assert "Not complete" not in sections[3]
    assert "GAT → MLP: 18 methods not begun." in sections[2]
    command = "--datasets Three --out benchmarks/results/study --setting production --seeds 5"
    assert f"{command} --tuning-seeds 1 --trials 5`" in " ".join(sections[2].split())
    figures = __import__("_study_figures")
    figures.draw_study(tmp_path, tmp_path)
    drawn = {f"_static/{path.name}" for path in tmp_path.glob("*.svg")}
    headline = __import__("_study_headline")
    table = headline.headline_blocks(tmp_path)["study headline"]
    assert "| Half, GCN | 95.0 | 82.0 ± 1.6 | 92.0 ± 1.6 | 95.2 ± 3.5 |" in " ".join(
        table.replace("\u00a0", " ").split()
    )
    drawn -= {f"_static/{__import__(name).PICTURE}" for name in ("_study_headline", "_study_lead")}
    drawn.remove(f"_static/{__import__('_study_settings').PICTURE}")  # docs/tuning.md has it
    chart = __import__("_study_chart")  # docs/losses/index.md has it
    drawn.remove(f"_static/{chart.PICTURE}")
    with __import__("matplotlib").rc_context(figures.STYLE):
        check_chart(chart.draw_chart(statistics.read(tmp_path)))
    assert drawn == {word for text in blocks.values() for word in text.split() if ".svg" in word}
    assert summary.study_blocks(tmp_path / "none") == summary.data_blocks(tmp_path / "none") == {}


def test_counts_against_the_lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher 15 points ahead, of which KD brings a third, and one that is two points ahead."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    gains = {"teacher": 15.0, "none": 0.0, "kd": 5.0, "gcrd": 8.0, "kd+gcrd": 7.5}
    file(tmp_path, {name: [80.0 + gain] * 10 for name, gain in gains.items()}, "Far", ("MLP",))
    gains |= {"teacher": 2.0, "kd": 1.5, "gcrd": 1.0, "kd+gcrd": 1.5}
    file(tmp_path, {name: [80.0 + gain] * 10 for name, gain in gains.items()}, "Near", ("GCN",))
    counts = __import__("_study_headline").headline_blocks(tmp_path)["study counts"]
    counts = " ".join(counts.replace("\u00a0", " ").split())
    assert "In how many of 2 pairs" in counts
    assert "| KD | 0 of 1 | 2 · 0 · 0 | |" in counts
    assert "| G-CRD | 1 of 1 | 2 · 0 · 0 | 1 · 0 · 1 |" in counts
    assert "| KD + G-CRD | 0 of 1 | 2 · 0 · 0 | 1 · 1 · 0 |" in counts
    pairs = __import__("_study_headline").shown(tmp_path)
    panels = __import__("_study_lead").draw_lead(pairs).axes
    marks = [
        {tuple(line.get_xydata()[0]) for line in ax.lines if len(line.get_xydata()) == 1}
        for ax in panels
    ]
    assert marks == [{(15.0, 5.0), (2.0, 1.5)}, {(15.0, 8.0), (2.0, 1.0)}]


def test_report_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    file(tmp_path, MADE)
    before = {path.name for path in tmp_path.iterdir()}
    monkeypatch.setattr(sys, "argv", ["study", "--report", "--out", str(tmp_path)])
    runpy.run_module("examples.study", run_name="__main__")
    assert "GAT → GCN" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == before
