"""Jobs of the study: one model alone, or one student by one method; each yields its runs as lines.

A line is a dictionary with all that made a run and what came out. A job is a function of the lines
that are there: what has been run is not run again. Trials have validation scores only. When a job
has made its trials, the best one runs with every seed, and its test rows are scored.
"""

import copy
import hashlib
import json
import os
import random
import time
from collections.abc import Iterator
from functools import lru_cache, partial
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

import graphkd

from . import data, fit, hetero, methods, models, plan, search, similarity

Line = dict[str, Any]


class Job(NamedTuple):
    """A model's training alone if there is no method, else a student's by a teacher."""

    dataset: str
    setting: str  # "transductive" or "production"
    model: str
    teacher: str | None = None  # None: the model learns alone
    method: str | None = None
    level: str = "node"
    is_teacher: bool = False


class Limits(NamedTuple):
    """How much of everything, and where files lie."""

    root: str
    folder: str  # of the teachers' outputs
    trials: int = plan.TRIALS
    tuning_seeds: int = plan.TUNING_SEEDS
    seeds: int = plan.SEEDS
    epochs: int = plan.EPOCHS
    patience: int = plan.PATIENCE
    max_samples: int = 1024
    similarity: bool = False  # of students and teachers, measured after a test run
    teacher_trials: int | None = None  # of teachers, if they get another number than the others
    kind: str = "multiclass"  # of the data set: that of data.Problem


def spec(job: Job) -> plan.Spec:
    return (plan.TEACHERS if job.is_teacher else plan.STUDENTS)[job.model]


def count(job: Job, limits: Limits) -> int:
    """The runs of a job, at most."""
    return trials(job, limits) * limits.tuning_seeds + limits.seeds


def trials(job: Job, limits: Limits) -> int:
    if job.is_teacher:
        return limits.teacher_trials or limits.trials
    most = inf
    if job.teacher is not None:
        most = search.size(plan.space(job.method, 0.0, limits.kind))
    return min(most, limits.trials * (2 if job.method in (plan.NONE_TWICE, plan.TWICE) else 1))


class Known(NamedTuple):
    """What a job needs of others: the options that were chosen."""

    student: dict[str, Any] | None = None
    teacher: dict[str, Any] | None = None
    kd: dict[str, Any] | None = None
    kind: str = "multiclass"  # that of data.Problem


def identity(known: Known) -> str | None:
    """A short name for what others chose, which stands in each line of a job that needs it."""
    if known == Known():
        return None
    chosen_by_others = json.dumps(known[:3], sort_keys=True)
    return hashlib.sha256(chosen_by_others.encode()).hexdigest()[:8]


def current(lines: list[Line], known: Known) -> list[Line]:
    """The lines of runs that were given this. More trials may have changed what others chose."""
    return [line for line in lines if line.get("given") == identity(known)]


class Settled(NamedTuple):
    """What a job needs that begins where the search has ended."""

    known: Known
    options: dict[str, Any]

    def own(self, lines: list[Line]) -> list[Line]:
        """Those that were made so: more trials may have changed the choice."""
        return [line for line in current(lines, self.known) if line["options"] == self.options]


def axes(job: Job, known: Known) -> search.Axes:
    if job.teacher is None:
        return spec(job).axes
    return plan.space(job.method, known.student["dropout"], known.kind)


def digits(score: float) -> float:
    """A score as lines hold it: four digits behind the point, or six that count."""
    return round(score, 4) if abs(score) >= 0.1 else float(f"{score:.6g}")


def tried(lines: list[Line], space: search.Axes, limits: Limits) -> dict[search.Point, float]:
    """The mean validation score of each point whose seeds have all been run, in order."""
    found: dict[search.Point, dict[int, float]] = {}
    for line in lines:
        if line["phase"] == "trial" and line["seed"] < limits.tuning_seeds:
            value = -inf if line["validation"] is None else line["validation"]
            found.setdefault(search.point(space, line["options"]), {})[line["seed"]] = value
    complete = {point: x for point, x in found.items() if len(x) == limits.tuning_seeds}
    return {point: digits(sum(x.values()) / len(x)) for point, x in complete.items()}


def chosen(job: Job, lines: list[Line], known: Known, limits: Limits) -> dict[str, Any] | None:
    """The options of the best trial, once all trials have been made."""
    space = axes(job, known)
    scores = tried(current(lines, known), space, limits)
    if not scores or search.propose(space, scores, trials(job, limits)) is not None:
        return None
    return search.options(space, search.best(scores))


def remaining(job: Job, lines: list[Line], known: Known, limits: Limits) -> Iterator[Line]:
    """Run what a job has not yet run."""
    space = axes(job, known)
    lines = current(lines, known)
    own = {} if known == Known() else {"given": identity(known)}
    done = {(line["phase"], search.point(space, line["options"]), line["seed"]) for line in lines}

    def missing(phase: str, point: search.Point, seeds: int) -> Iterator[Line]:
        for seed in range(seeds):
            if (phase, point, seed) not in done:
                options = search.options(space, point)
                line = {"phase": phase, **own, "options": options, "seed": seed}
                line |= one_run(job, options, seed, known, limits, test=phase == "test")
                lines.append(line)
                yield line

    while True:
        scores = tried(lines, space, limits)
        point = search.propose(space, scores, trials(job, limits))
        if point is None:
            break
        yield from missing("trial", point, limits.tuning_seeds)
    yield from missing("test", search.best(scores), limits.seeds)


def one_run(
    job: Job, options: dict[str, Any], seed: int, known: Known, limits: Limits, *, test: bool
) -> Line:
    """One run: its validation score; of a test also the scores, and how long it took."""
    start, model = time.perf_counter(), None
    try:
        model, problem, found = train(job, options, seed, known, limits)
        line: Line = {"validation": digits(found.validation)}
        if test:
            scores = fit.scores(model, problem)
            line |= {part: digits(value) for part, value in scores.items()}
            seconds = round(found.earlier + time.perf_counter() - start, 2)
            line |= {"epoch": found.epoch, "epochs": found.epochs, "seconds": seconds}
    except FloatingPointError as error:  # as when a large weight makes it diverge
        line = {"validation": None, **failure(error)}
    if test and limits.similarity and job.teacher is not None and "failed" not in line:
        line["similarity"] = similarity.measured(model, problem)
    if test and job.is_teacher and model is not None:  # its students need not train it again
        folder = teachers_folder(job, json.dumps(options), seed, limits)
        keep(model, folder / "model.pt", line["validation"])
        if problem.task != "hetero":
            stores(model, problem, folder)
    return line


def failure(error: FloatingPointError) -> Line:
    return {"failed": str(error)[:200]}


def train(
    job: Job, options: dict[str, Any], seed: int, known: Known, limits: Limits
) -> tuple[nn.Module, data.Problem, fit.Fitted]:
    """The trained model of a run."""
    model, problem, training, lessons = prepared(job, options, seed, known, limits)
    _seed(seed)  # the same dropout and batches, whatever a head has drawn
    kept = _kept(job, options, seed, known, limits)
    return model, problem, fit.fit(model, problem, training, lessons, kept=kept)


def prepared(
    job: Job, options: dict[str, Any], seed: int, known: Known, limits: Limits
) -> tuple[nn.Module, data.Problem, fit.Training, fit.Taught | None]:
    """What `fit` takes for a run.

    The method "none" is the student alone beside a teacher, with which it may be compared.
    """
    if job.teacher is None:
        problem = data.problem(job.dataset, limits.root, seed, job.setting)
        model, training = _built(spec(job), problem, options, seed, limits)
        return model, problem, training, None
    problem, teacher = taught(job, seed, known, limits)
    made = known.student | {"dropout": options["dropout"]}
    model, training = _built(spec(job), problem, made, seed, limits)
    if job.method == "none":
        return model, problem, training, None
    of_types = problem.task == "hetero"
    case = methods.Case(
        model.widths[job.level],
        teacher.model.widths[job.level],
        None if problem.many or of_types else problem.learn[0],
        teacher._replace(model=getattr(teacher.model, "gnn", teacher.model)),
        task=problem.kind if problem.kind in ("multilabel", "regression") else "multiclass",
        max_samples=limits.max_samples,
    )
    method = plan.loss_of(job.method)
    settings = {method: _setting(options)}
    if known.kd is not None and method != "kd":
        settings["kd"] = _setting(known.kd)
    if of_types:
        loss, given = hetero.objective(method, settings, case, problem.learn[0])
        model.types = loss.types
    else:
        loss, given = methods.objective(method, settings, case)
    return model, problem, training, fit.Taught(loss, given, method, case, job.level)


def _kept(job: Job, options: dict[str, Any], seed: int, known: Known, limits: Limits) -> Path:
    """The file of an unfinished run: its name says everything that made the run."""
    own = [getattr(limits, name) for name in ("epochs", "patience", "max_samples")]
    made = repr((job, options, seed, known, own, graphkd.__version__, torch.__version__))
    return Path(limits.folder) / "unfinished" / f"{hashlib.sha256(made.encode()).hexdigest()}.pt"


def _built(
    which: plan.Spec, problem: data.Problem, options: dict[str, Any], seed: int, limits: Limits
) -> tuple[nn.Module, fit.Training]:
    options = {**which.fixed, **options}
    speed = {name: options.pop(name) for name in ("lr", "weight_decay")}
    _seed(seed)
    model = models.build(which.name, problem, options)
    return model, fit.Training(**speed, epochs=limits.epochs, patience=limits.patience)


def _setting(options: dict[str, Any]) -> methods.Setting:
    return methods.Setting(options.get("weight", 1.0), options.get("temperature"))


def _seed(seed: int) -> None:
    """Seed torch, and Python's random, from which PyG's negative sampling draws."""
    torch.manual_seed(seed)
    random.seed(seed)


# Teachers -----------------------------------------------------------------------------------------


def _apply(model: nn.Module, batch: Data) -> torch.Tensor:
    return model(batch)


def _nodes(model: nn.Module, batch: Data) -> tuple[torch.Tensor, None]:
    """The rows of nodes, of a model whose logits have rows of graphs."""
    return model.nodes(batch), None


def taught(job: Job, seed: int, known: Known, limits: Limits) -> tuple[data.Problem, Any]:
    """A problem with the teacher's outputs for its graphs to learn from, and the teacher.

    The teacher's outputs are those of a TeacherStore in the study's folder. What is not there is
    made: the teacher is trained with the options that were chosen for it. One graph carries the
    outputs; those for many graphs are read batch by batch.
    """
    teacher = Job(job.dataset, job.setting, job.teacher, is_teacher=True)
    return _taught(teacher, json.dumps(known.teacher), seed, limits)


# A trial's seeds come again with the next trial, if there are no more of them than by default. The
# teacher's outputs of each may be as large as memory allows.
@lru_cache(maxsize=plan.TUNING_SEEDS)
def _taught(
    job: Job, options_text: str, seed: int, limits: Limits
) -> tuple[data.Problem, methods.Teacher]:
    options = json.loads(options_text)
    problem = data.problem(job.dataset, limits.root, seed, job.setting)
    folder = teachers_folder(job, options_text, seed, limits)
    state = folder / "model.pt"
    model, _ = _built(spec(job), problem, options, seed, limits)
    if state.exists():
        model.load_state_dict(torch.load(state, weights_only=True))
    else:
        model, problem, found = train(job, options, seed, Known(), limits)
        keep(model, state, digits(found.validation))
    if problem.task == "hetero":
        graph = hetero.taught(problem.learn[0], graphkd.freeze(model), folder / "node")
        h_t = graph.h_node[graph.target]
        return problem._replace(learn=[graph]), methods.Teacher(model, h_t, graph.z_t)
    made = stores(model, problem, folder)
    z_t = made[problem.level]
    if problem.many:
        read = {"z_t": lambda rows: z_t[rows].z}
        read |= {f"h_{which}": partial(_embeddings, store) for which, store in made.items()}
        return problem._replace(taught=read), methods.Teacher(model, None, None)
    graph = copy.copy(problem.learn[0])
    graph.h_node, graph.z_t = made["node"][:].h, z_t[:].z
    return problem._replace(learn=[graph]), methods.Teacher(model, graph.h_node, graph.z_t)


def _embeddings(store: graphkd.TeacherStore, rows: torch.Tensor) -> torch.Tensor:
    return store[rows].h


def teachers_folder(job: Job, options_text: str, seed: int, limits: Limits) -> Path:
    made = options_text, dict(spec(job).fixed), Path(limits.root).resolve()
    unique = hashlib.sha256(f"{made} {limits.epochs} {limits.patience}".encode())
    name = f"{job.dataset.replace(':', '-')}-{job.setting}-{job.model}"
    return Path(limits.folder) / f"{name}-{unique.hexdigest()[:10]}-{seed}"


def keep(model: nn.Module, state: Path, validation: float) -> None:
    """Write a teacher's score, and its parameters whole or not at all."""
    state.parent.mkdir(parents=True, exist_ok=True)
    state.with_name("validation.json").write_text(json.dumps(validation))
    torch.save(model.state_dict(), partial := state.with_name(f"model.{os.getpid()}.partial"))
    partial.replace(state)


def stores(
    model: nn.Module, problem: data.Problem, folder: Path
) -> dict[str, graphkd.TeacherStore]:
    """The teacher's outputs by level; those for the rows that have labels hold its logits, too."""
    graphkd.freeze(model)
    source: Any = problem.learn[0]
    if problem.many:
        source = DataLoader(problem.learn, 4 * problem.batch)
    found = {}
    for level, layer in model.layers.items():
        tap, forward = (layer, _apply) if level == problem.level else (None, _nodes)
        make = partial(graphkd.TeacherStore.build, folder / level, model, source, tap)
        while level not in found:
            try:
                found[level] = make(torch.float32, forward, progress=False)
            except RuntimeError as error:
                if "another process is building" not in str(error):
                    raise
                time.sleep(1)
    return found
