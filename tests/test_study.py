"""The study's harness: its search, its lines, and that a stop changes nothing."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.study import data, fit, methods, plan, schedule, search, work
from examples.study.names import named
from examples.study.work import Job, Known, Limits

WEIGHT = search.Axis(1.0, 10**0.5)
DROPOUT = search.Axis(0.4, values=(0.0, 0.2, 0.4, 0.6, 0.8))


# Search -------------------------------------------------------------------------------------------


def searched(axes: search.Axes, score: Any, trials: int = 12) -> dict[search.Point, float]:
    tried: dict[search.Point, float] = {}
    while (point := search.propose(axes, tried, trials)) is not None:
        assert point not in tried
        tried[point] = score(search.options(axes, point))
    return tried


@settings(deadline=None, max_examples=40)
@given(st.floats(-2.4, 2.4), st.sampled_from(DROPOUT.values))
def test_the_search_finds_a_single_peak(decade: float, dropout: float) -> None:
    def score(options: dict[str, Any]) -> float:
        away = torch.tensor(options["weight"]).log10().item() - decade
        return -(away**2) - (options["dropout"] - dropout) ** 2

    axes = {"weight": WEIGHT, "dropout": DROPOUT}
    tried = searched(axes, score)
    found = search.options(axes, search.best(tried))
    assert len(tried) == 12
    assert abs(torch.tensor(found["weight"]).log10().item() - decade) <= 0.5
    assert search.at_edge(axes, tried) == []


def test_a_winner_at_the_edge_is_told_and_ends_of_lists_are_no_edges() -> None:
    axes = {"weight": WEIGHT, "dropout": DROPOUT}
    tried = searched(axes, lambda options: options["weight"] + options["dropout"])
    assert "weight" in search.at_edge(axes, tried)
    alone = {"dropout": DROPOUT}
    tried = searched(alone, lambda options: options["dropout"])
    assert len(tried) == len(DROPOUT.values)  # there is no more
    assert search.options(alone, search.best(tried)) == {"dropout": 0.8}
    assert search.at_edge(alone, tried) == []


@given(st.integers(-6, 6), st.integers(-2, 2))
def test_options_name_their_point(weight: int, dropout: int) -> None:
    axes = {"weight": WEIGHT, "dropout": DROPOUT}
    point = (weight, dropout)
    assert search.point(axes, search.options(axes, point)) == point


# Names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [("Nothing", "no data set of PyG's"), ("Planetoid", "name one, as in Planetoid:NAME")],
)
def test_unknown_names_are_told(name: str, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        data.problem(name, "data", 0)


def test_arguments_may_stand_behind_a_methods_name() -> None:
    name, arguments = named("gcrd[temperature=0.1,head=student,symmetric=True]")
    assert name == "gcrd"
    assert arguments == {"temperature": 0.1, "head": "student", "symmetric": True}


# Lines --------------------------------------------------------------------------------------------

JOBS = [
    Job("Digits", "transductive", "GraphSAGE", is_teacher=True),
    Job("Digits", "transductive", "MLP"),
    Job("Digits", "transductive", "MLP", "GraphSAGE", "kd"),
    Job("Digits", "transductive", "MLP", "GraphSAGE", "kd+gcrd"),
]


def limits(tmp_path: Path, **more: int) -> Limits:
    sizes = {"trials": 3, "tuning_seeds": 2, "seeds": 2, "epochs": 3, "max_samples": 128}
    return Limits("", str(tmp_path / "teachers"), **{**sizes, **more})


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The runs of a file without the time they took."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def ran(tmp_path: Path, jobs: list[Job] = JOBS, processes: int = 1, **more: int) -> Path:
    some = limits(tmp_path, **more)
    results = schedule.Results(tmp_path, "Digits", "transductive", some)
    schedule.run(jobs, [results], processes)
    return results.path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("study"))


def test_each_method_gets_as_many_trials_and_they_choose_by_validation(whole: Path) -> None:
    header, *lines = lines_of(whole)
    assert header["limits"]["epochs"] == 3
    for job in JOBS:
        mine = [
            line for line in lines
            if all(line.get(k, d) == getattr(job, k) for k, d in Job._field_defaults.items())
            and line.get("model") == job.model
        ]  # fmt: skip
        trials = [line for line in mine if line["phase"] == "trial"]
        tests = [line for line in mine if line["phase"] == "test"]
        assert len(trials) == 3 * 2
        assert all("test" not in line for line in trials)
        assert [line["seed"] for line in tests] == [0, 1]
        assert len({line.get("given") for line in mine}) == 1
        means: dict[str, float] = {}
        for line in trials:
            key = json.dumps(line["options"])
            means[key] = means.get(key, 0.0) + line["validation"] / 2
        best = max(means, key=lambda key: means[key])
        assert {json.dumps(line["options"]) for line in tests} == {best}
        # A trial with a seed and the result with it are the same run.
        again = {(json.dumps(line["options"]), line["seed"]): line for line in trials}
        for line in tests:
            assert line["validation"] == again[best, line["seed"]]["validation"]


@pytest.mark.parametrize("keep", [0.0, 0.35, 0.8])
def test_a_study_that_was_killed_goes_on_to_the_same_lines(
    whole: Path, tmp_path: Path, keep: float
) -> None:
    content = whole.read_text()
    cut = tmp_path / whole.name
    cut.write_text(content[: int(keep * len(content))])  # the last line is cut, too
    assert lines_of(ran(tmp_path)) == lines_of(whole)


def test_more_trials_and_seeds_go_on_from_those_that_there_are(whole: Path, tmp_path: Path) -> None:
    (tmp_path / whole.name).write_text(whole.read_text())
    more = lines_of(ran(tmp_path, JOBS[:2], trials=4, seeds=3))
    assert more[: len(lines_of(whole))] == lines_of(whole)
    alone = [line for line in more[1:] if line.get("model") == "MLP" and "method" not in line]
    assert sum(line["phase"] == "trial" for line in alone) == 4 * 2


def test_several_processes_give_the_same_lines(whole: Path, tmp_path: Path) -> None:
    key = json.dumps
    several = lines_of(ran(tmp_path, processes=2))
    assert sorted(several, key=key) == sorted(lines_of(whole), key=key)


def test_lines_of_a_choice_that_more_trials_have_changed_do_not_count(
    whole: Path, tmp_path: Path
) -> None:
    student, kd = JOBS[1], JOBS[2]
    content = [json.loads(line) for line in whole.read_text().splitlines()]
    names = {line["given"] for line in content if line.get("method") == "kd"}
    (name,) = names
    (meaning,) = [line["known"] for line in content if "known" in line and line["given"] == name]
    # A fourth trial of the student alone, better than all others, at a dropout not tried yet.
    dropout = ({0.0, 0.2, 0.4, 0.6, 0.8} - {trial["options"]["dropout"] for trial in content
               if trial.get("model") == "MLP" and "method" not in trial}).pop()  # fmt: skip
    options = {**meaning["student"], "dropout": dropout}
    better = [
        {"model": "MLP", "phase": "trial", "options": options, "seed": seed, "validation": 99.0}
        for seed in range(2)
    ]
    path = tmp_path / whole.name
    path.write_text(whole.read_text() + "".join(json.dumps(line) + "\n" for line in better))
    some = limits(tmp_path)
    lines = schedule.Results(tmp_path, "Digits", "transductive", some).lines
    known = schedule.known(kd, lines, some)
    assert known is not None
    assert known.student == options
    assert work.current(lines[kd], known) == []
    ran(tmp_path, [student, kd])
    again = [json.loads(line) for line in path.read_text().splitlines()]
    mine = [line for line in again if line.get("method") == "kd" and line["given"] != name]
    assert len(mine) == 3 * 2 + 2
    assert {line["given"] for line in mine} == {work.identity(known)}


def test_other_limits_need_another_folder(whole: Path, tmp_path: Path) -> None:
    (tmp_path / whole.name).write_text(whole.read_text())
    with pytest.raises(SystemExit, match=r"made with epochs .*: pass the same, or another --out"):
        ran(tmp_path, epochs=4)


def test_the_teachers_rows_are_its_outputs_in_evaluation_mode(tmp_path: Path) -> None:
    some = limits(tmp_path)
    chosen = search.options(plan.TEACHERS["GAT"].axes, (1, 0, 0, 0, 0, 0))
    job = Job("Digits", "production", "GAT", is_teacher=True)
    model, problem, found = work.train(job, chosen, 1, Known(), some)
    student = Job("Digits", "production", "MLP", "GAT", "kd")
    for _ in range(2):  # made, then read
        taught, _ = work.taught(student, 1, Known(teacher=chosen), some)
        with torch.no_grad():
            z = model.eval()(problem.learn[0])
        assert taught.learn[0].z_t.equal(z)
        work._taught.cache_clear()
    # By its score, a file's students know whether it is theirs.
    folder = work.teachers_folder(job, json.dumps(chosen), 1, some)
    assert json.loads((folder / "validation.json").read_text()) == work.digits(found.validation)


@pytest.mark.parametrize("method", [*plan.methods_for("MLP"), "gcrd[positives=edges]"])
def test_every_method_trains(tmp_path_factory: pytest.TempPathFactory, method: str) -> None:
    some = limits(tmp_path_factory.getbasetemp(), epochs=2)
    teacher = search.options(plan.TEACHERS["GraphSAGE"].axes, (0,) * 6)
    student = search.options(plan.STUDENTS["MLP"].axes, (0,) * 4)
    known = Known(student, teacher, {"weight": 1.0, "temperature": 2.0, "dropout": 0.4})
    job = Job("Digits", "transductive", "MLP", "GraphSAGE", method)
    axes = work.axes(job, known)
    model, problem, found = work.train(job, search.options(axes, (0,) * len(axes)), 0, known, some)
    assert 0 < found.validation < 100
    alone = {**student, "dropout": 0.4}
    student_job = Job("Digits", "transductive", "MLP")
    plain, *_ = work.train(student_job, alone, 0, Known(), some)
    with torch.no_grad():  # the teacher has changed something
        assert not model.eval()(problem.learn[0]).equal(plain.eval()(problem.learn[0]))


def test_a_run_that_diverges_is_a_line_and_a_mistake_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"weight": 1.0, "dropout": 0.4}
    z, refused = torch.ones(2, 2), "the loss refuses it"

    def refuse(*_: object, **__: object) -> None:
        raise ValueError(refused)

    taught = fit.Taught(refuse, {}, "kd", methods.Case(2, 2, None, None))
    graph = Data(edge_index=torch.zeros(2, 0, dtype=torch.long), z_t=z)
    with pytest.raises(ValueError, match=refused):
        fit.distilled(taught, z, graph, z, z.sum())
    with pytest.raises(FloatingPointError, match=refused):
        fit.distilled(taught, z, graph, z / 0, z.sum())

    def diverge(*_: object) -> None:
        raise FloatingPointError(refused)

    monkeypatch.setattr(work, "train", diverge)
    line = work.one_run(JOBS[1], options, 0, Known(), limits(tmp_path), test=True)
    assert line == {"validation": None, "failed": refused}
