"""A study's files with planted scores, as its lines would be."""

import json
from pathlib import Path

from examples.study import plan, search, work
from examples.study.methods import beside_kd
from examples.study.work import Job, Known

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
