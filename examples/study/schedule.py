"""Jobs run in processes, each run a line of JSON in the file of its data set.

One process writes, under a lock: a study that was killed goes on where it was, and a last line that
was cut is dropped. A job waits for the choices that it needs, its student's, its teacher's and
KD's, and for its teacher's runs, whose outputs it takes.
"""

import json
import os
import platform
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
import torch_geometric
from filelock import FileLock, Timeout
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

import graphkd

from . import pool, work
from .methods import beside_kd
from .work import Job, Known, Limits, Line, chosen

Lines = dict[Job, list[Line]]
# A run's outcome depends on these limits; the others say how much is run.
FIXED = ("epochs", "patience", "max_samples")
# What tells the runs of a job apart, in the cells and in their parts.
MADE = ("given", "phase", "when", "kind", "share", "options", "seed")
TOLD = 10  # runs, after which a log is told how far it is


class Results:
    """The file of a data set in a setting."""

    def __init__(self, folder: Path, dataset: str, setting: str, limits: Limits) -> None:
        self.path = folder / f"{dataset.replace(':', '-')}-{setting}.jsonl"
        self.dataset, self.setting, self.limits = dataset, setting, limits
        self.lines: Lines = defaultdict(list)
        self.header: Line = {}
        self.given: set[str | None] = set()
        self.whole: int | None = None  # the bytes of whole lines, until a line is added
        if self.path.exists():
            self._read()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other studies from writing the file, and read what they have written until now.

        Raises:
            SystemExit: If another study holds it.
        """
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            raise SystemExit(
                f"Another study writes {self.path}: wait until it ends, or pass another --out."
            ) from None
        with held:
            if self.path.exists():
                self._read()
            yield

    def _read(self) -> None:
        text = self.path.read_text()
        whole = text[: text.rfind("\n") + 1]
        self.whole = len(whole.encode())
        self.header, self.lines = parsed(whole, self.path)
        self.given = {line.get("given") for lines in self.lines.values() for line in lines}
        now = self.limits._asdict()
        then = self.header["limits"] if self.header else now
        if others := [f"{name} {then[name]}" for name in FIXED if then[name] != now[name]]:
            raise SystemExit(
                f"{self.path} was made with {', '.join(others)}: pass the same, or another --out."
            )

    def add(self, job: Job, line: Line, given: Known | None = None) -> None:
        """Write a run, and before the first with a name for what others chose, what that is."""
        self.lines[job].append(line)
        header = self._facts()
        own = {
            name: value
            for name, value in job._asdict().items()
            if name not in ("dataset", "setting") and value != Job._field_defaults.get(name)
        }
        if self.whole is not None:  # only who writes drops a last line that was cut
            os.truncate(self.path, self.whole)
            self.whole = None
        with self.path.open("a") as file:
            if self.header != header:
                file.write(json.dumps(header) + "\n")
                self.header = header
            if given is not None and line.get("given") not in self.given:
                self.given.add(line["given"])
                meaning = {"given": line["given"], "known": given._asdict()}
                file.write(json.dumps(meaning) + "\n")
            file.write(json.dumps({**own, **line}) + "\n")

    def _facts(self) -> Line:
        return {
            "dataset": self.dataset, "setting": self.setting, **_versions(),
            "kind": self.limits.kind,
            "limits": {name: getattr(self.limits, name) for name in FIXED},
        }  # fmt: skip


def parsed(text: str, path: Path | str = "The text") -> tuple[Line, Lines]:
    """The last header and the lines of each job; a last line that was cut is left out.

    A run that stands there twice counts once.

    Raises:
        SystemExit: If a line is none of a study; it names the path.
    """
    header: Line = {}
    lines: Lines = defaultdict(list)
    seen = set()
    for number, one in enumerate(text[: text.rfind("\n") + 1].splitlines(), 1):
        try:
            line = json.loads(one)
            if "limits" in line:
                header = line
            elif "known" not in line:
                own = {name: line.pop(name) for name in Job._fields if name in line}
                job = Job(header["dataset"], header["setting"], **own)
                run = (job, *(json.dumps(line.get(name)) for name in MADE))
                if run not in seen:
                    lines[job].append(line)
                seen.add(run)
        except (ValueError, KeyError, TypeError):
            raise SystemExit(f"{path}, line {number}: this is no line of a study.") from None
    return header, lines


def cells(path: Path) -> tuple[Line, Lines]:
    """What `parsed` gives of a file, if its runs are trials and tests.

    Raises:
        SystemExit: If they are not, as those of the part about robustness.
    """
    header, lines = parsed(path.read_text(), path)
    if any("phase" not in line for runs in lines.values() for line in runs):
        raise SystemExit(f"{path} has neither trials nor tests, so there are no tables of it.")
    return header, lines


def _versions() -> dict[str, str]:
    return {
        "graphkd": graphkd.__version__, "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__, "python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
    }  # fmt: skip


def known(job: Job, lines: Lines, limits: Limits) -> Known | None:
    """What the job needs of others, or None if they have not finished their search."""
    if job.teacher is None:
        return Known()

    def options(of: Job) -> dict[str, Any] | None:
        needed = known(of, lines, limits)
        return needed and chosen(of, lines.get(of, []), needed, limits)

    student = Job(job.dataset, job.setting, job.model)
    teacher = Job(job.dataset, job.setting, job.teacher, is_teacher=True)
    found = Known(options(student), options(teacher))
    if found.student is None or found.teacher is None:
        return None
    found = found._replace(kind=limits.kind)
    if beside_kd(job.method):
        found = found._replace(kd=options(job._replace(method="kd", level="node")))
        return None if found.kd is None else found
    return found


def check_teacher(job: Job, seed: int, needed: Any, file: Results, limits: Limits) -> None:
    """Raise SystemExit if the file's runs had another teacher than this run.

    Another processor or another version may train another one, where its outputs have been lost.
    Then runs of a seed are no pairs.
    """
    options = getattr(needed, "teacher", None)
    if job.teacher is None or options is None:
        return
    teacher = Job(job.dataset, job.setting, job.teacher, is_teacher=True)
    folder = work.teachers_folder(teacher, json.dumps(options), seed, limits)
    score = folder / "validation.json"
    now = json.loads(score.read_text()) if score.exists() else None
    for line in file.lines.get(teacher, []):
        then = line.get("validation")
        same = (line["seed"], line["options"]) == (seed, options)
        if same and now is not None and then not in (None, now):
            raise SystemExit(
                f"{file.path}: the {job.teacher} of seed {seed} validates at {then} there, and at "
                f"{now} here, trained by another machine or version. Students of both do not "
                "pair: pass another --out."
            )


def run(
    jobs: list[Job],
    results: list[Results],
    processes: int,
    remaining: Callable[..., Iterator[Line]] = work.remaining,
    count: Callable[[Job, Limits], int] = work.count,
    needs: Callable[[Job], Any] | None = None,
) -> None:
    """Run what is missing of the jobs, with a bar, while no other study writes the files.

    Args:
        jobs: What is run.
        results: The files of the jobs' data sets.
        processes: How many run at a time.
        remaining: Yields a job's missing lines, from those it has and from what it needs.
        count: How many lines a job has in the end.
        needs: What a job needs; without it, what the lines of the same files say.

    Raises:
        SystemExit: If another study writes one of the files.
    """
    with ExitStack() as stack:
        for one in results:
            stack.enter_context(one.locked())
        _run([*dict.fromkeys(jobs)], results, processes, remaining, count, needs)


def _run(
    jobs: list[Job],
    results: list[Results],
    processes: int,
    remaining: Callable[..., Iterator[Line]],
    count: Callable[[Job, Limits], int],
    needs: Callable[[Job], Any] | None,
) -> None:
    of = {(one.dataset, one.setting): one for one in results}

    def lines(job: Job) -> Lines:
        return of[job.dataset, job.setting].lines

    def limits(job: Job) -> Limits:
        return of[job.dataset, job.setting].limits

    needed = needs or (lambda job: known(job, lines(job), limits(job)))
    done = sum(len(lines(job)[job]) for job in jobs)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("runs"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as progress:
        total = sum(max(count(job, limits(job)), len(lines(job)[job])) for job in jobs)
        bar = progress.add_task("", total=total, completed=done)

        def keep(job: Job, line: Line) -> None:
            file, given = of[job.dataset, job.setting], None
            check_teacher(job, line["seed"], needed(job), file, limits(job))
            if "given" in line and line["given"] not in file.given:
                given = needed(job)
            file.add(job, line, getattr(given, "known", given))
            progress.advance(bar)
            now = int(progress.tasks[bar].completed)
            most = max(now, total)  # more, if more trials change a choice
            progress.update(bar, total=most)
            if now % TOLD == 0 and not progress.console.is_terminal:  # which would show the bar
                progress.console.print(f"{now} of {most} runs")

        if processes == 1:
            for job in jobs:
                for line in remaining(job, lines(job)[job], needed(job), limits(job)):
                    keep(job, line)
        else:
            pool.run(jobs, lines, limits, processes, keep, remaining, needed)
