"""The study's scheduling: who writes a file, runs that stand there twice, processes that end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from examples.study import plan, report, schedule, search, statistics, work
from examples.study.work import Job, Known, Limits
from tests.planted_study import KD, MADE, TRIALS, file, planted

ALONE = Job("Made", "transductive", "GCN")
LIMITS = Limits("", "", trials=TRIALS, tuning_seeds=1, seeds=5)


def results(folder: Path) -> schedule.Results:
    return schedule.Results(folder, *ALONE[:2], LIMITS)


def run(folder: schedule.Results, jobs: list[Job]) -> list[Job]:
    """Run one line of each job that has none; the jobs that were begun."""
    begun = []

    def remaining(job: Job, lines: list[Any], *_: Any) -> Iterator[dict[str, Any]]:
        begun.append(job)
        if not lines:
            yield {"phase": "trial", "options": {}, "seed": 0, "validation": 1.0}

    schedule.run(jobs, [folder], 1, remaining, lambda *_: 1, lambda job: Known())
    return begun


# One file, one study ------------------------------------------------------------------------------


def test_two_studies_do_not_write_one_file(tmp_path: Path) -> None:
    one = results(tmp_path)
    with (
        FileLock(tmp_path / ".Made-transductive.jsonl.lock"),
        pytest.raises(SystemExit, match=r"Another study writes .*Made-transductive.jsonl: wait"),
    ):
        run(one, [ALONE])
    assert not one.path.exists()
    run(one, [ALONE])
    assert len(one.path.read_text().splitlines()) == 2


def test_what_another_study_has_written_until_the_lock_is_held_counts(tmp_path: Path) -> None:
    early = results(tmp_path)
    run(results(tmp_path), [ALONE])
    text = early.path.read_text()
    run(early, [ALONE])
    assert early.path.read_text() == text
    early.path.write_text(text + '{"cut')
    early = results(tmp_path)  # it saw the cut line, which the other one drops
    run(results(tmp_path), [ALONE._replace(model="MLP")])
    text = early.path.read_text()
    run(early, [ALONE._replace(model="SIGN")])
    assert early.path.read_text().startswith(text)


@pytest.mark.parametrize("now", [None, 81.0, 80.5])
def test_students_of_another_teacher_do_not_come_into_the_file(
    tmp_path: Path, now: float | None
) -> None:
    """As where another processor trains it anew. Without its score, nothing is known of it."""
    one, options = results(tmp_path), {"dropout": 0.2}
    one.limits = LIMITS._replace(folder=str(tmp_path))
    teacher = ALONE._replace(model="GAT", is_teacher=True)
    one.add(teacher, {"phase": "test", "options": options, "seed": 0, "validation": 81.0})
    if now is not None:
        folder = work.teachers_folder(teacher, json.dumps(options), 0, one.limits)
        work.keep(torch.nn.Linear(1, 1), folder / "model.pt", now)
    student, before = Job("Made", "transductive", "MLP", "GAT", "kd"), one.path.read_text()

    def remaining(*_: Any) -> Iterator[dict[str, Any]]:
        yield {"phase": "trial", "options": {}, "seed": 0, "validation": 1.0}

    def go() -> None:
        known = Known({}, options)
        schedule.run([student], [one], 1, remaining, lambda *_: 1, lambda job: known)

    if now != 80.5:
        go()
        assert one.path.read_text() > before
        return
    told = r"GAT of seed 0 validates at 81.0 there, and at 80.5 here"
    with pytest.raises(SystemExit, match=told):
        go()
    assert one.path.read_text() == before


def test_a_file_of_other_limits_is_not_continued(tmp_path: Path) -> None:
    run(results(tmp_path), [ALONE])
    with pytest.raises(SystemExit, match=r"was made with epochs 400: pass the same, or another"):
        schedule.Results(tmp_path, *ALONE[:2], LIMITS._replace(epochs=7))


def test_a_job_that_is_named_twice_runs_once(tmp_path: Path) -> None:
    assert run(results(tmp_path), [ALONE, ALONE]) == [ALONE]


def test_a_log_is_told_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run(results(tmp_path), [ALONE._replace(method=str(i)) for i in range(23)])
    out = capsys.readouterr().out
    assert "10 of 23 runs\n20 of 23 runs\n" in out
    assert "30" not in out


def test_runs_that_stand_in_a_file_twice_count_once(tmp_path: Path) -> None:
    file(tmp_path, MADE | {"at": [None, 90.0, 90.0, 90.0, 90.0]})
    (before,) = statistics.read(tmp_path)
    path = tmp_path / "Made-transductive.jsonl"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *lines, *lines]) + "\n")
    assert statistics.read(tmp_path) == [before]


def test_a_trial_is_complete_with_all_seeds_however_often_they_came() -> None:
    space = plan.STUDENTS["GCN"].axes
    options = search.options(space, (0, 0, 0, 0))
    limits = LIMITS._replace(tuning_seeds=2)
    lines = [
        {"phase": "trial", "options": options, "seed": seed, "validation": 80.0 + seed}
        for seed in (0, 0, 1)
    ]
    assert work.tried(lines[:2], space, limits) == {}
    assert work.tried(lines, space, limits) == {(0, 0, 0, 0): 80.5}
    twice = planted(ALONE, Known(), [None, *KD[1:]]) + planted(ALONE, Known(), [None, *KD[1:]])
    assert statistics.cell(ALONE, {ALONE: twice}).failed == 1


def test_a_line_of_something_else_is_named(tmp_path: Path) -> None:
    file(tmp_path, MADE)
    path = tmp_path / "Made-transductive.jsonl"
    text = path.read_text()
    for garbage in ("\0\0\0", "5", '{"phase": "test"}'):
        path.write_text(f"{text}{garbage}\n")
        number = len(text.splitlines()) + 1
        with pytest.raises(SystemExit, match=f"^{path}, line {number}: this is no line of a study"):
            report.show(tmp_path)
        with pytest.raises(SystemExit, match=f"line {number}"):
            results(tmp_path)


def test_there_are_no_tables_of_corruptions(tmp_path: Path) -> None:
    one = results(tmp_path)
    one.add(ALONE, {"when": "test", "kind": "none", "share": 0.0, "seed": 0, "test": 80.0})
    with pytest.raises(SystemExit, match="jsonl has neither trials nor tests"):
        report.show(tmp_path)


# Processes ----------------------------------------------------------------------------------------

SLOW = """
import os, sys, time
from pathlib import Path
from examples.study import schedule, work

def remaining(job, *_):
    Path(sys.argv[1], f"{job.model}.began").touch()
    time.sleep(300)
    yield {}

if __name__ == "__main__":
    limits = work.Limits("", "")
    results = schedule.Results(Path(sys.argv[1]), "Made", "transductive", limits)
    jobs = [work.Job("Made", "transductive", name) for name in ("GCN", "MLP")]
    schedule.run(jobs, [results], 2, remaining)
"""


def living(group: int) -> list[int]:
    """The processes of a group, but for those that have ended and were not waited for."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(") ")[2].split()[:3]
        except OSError:  # it has just ended
            continue
        found += [int(stat.parent.name)] if int(its_group) == group and state != "Z" else []
    return found


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_workers_end_when_the_main_process_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    main = subprocess.Popen(
        [sys.executable, script, tmp_path], start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: len([*tmp_path.glob("*.began")]) == 2)
        assert len(living(main.pid)) > 3
        main.kill()
        main.wait()
        wait_for(lambda: not living(main.pid))
    finally:
        for pid in living(main.pid):
            os.kill(pid, signal.SIGKILL)
