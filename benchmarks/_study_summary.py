"""What docs/study.md says of all data sets together, and the marked block of study_data.md."""

import math
from pathlib import Path

from _study_tables import (
    FOLDER,
    alone,
    chance,
    counted,
    dropdown,
    in_points,
    listed,
    methods,
    section,
    table,
    wide,
)
from _tables import image, joined, prose
from study import plan
from study.ranks import FEWEST_SAMPLES, ranked, ranking
from study.report import decimal, places
from study.statistics import (
    NONE,
    TWICE,
    Column,
    Found,
    differences,
    label,
    read,
)


def study_blocks(folder: Path = FOLDER) -> dict[str, str]:
    """The marked blocks of the page; none without results."""
    found = read(folder)
    return {"study summary": summary(found), "study details": details(found)} if found else {}


def data_blocks(folder: Path = FOLDER) -> dict[str, str]:
    """That of docs/study_data.md; none without results."""
    found = read(folder)
    return {"study data sets": joined(*(section(one) for one in found))} if found else {}


# At a glance --------------------------------------------------------------------------------------


def summary(found: list[Found]) -> str:
    columns = [column for one in found for column in one.columns]
    sets = len({one.header["dataset"] for one in found})
    percent = sum(map(in_points, columns))
    rest = "" if percent == len(columns) else f" ({percent} of them with scores in per cent)"
    intro = f"""{sum(one.runs for one in found):,} runs on {sets} data
    {"set" if sets == 1 else "sets"}, {len(columns)} {"pair" if len(columns) == 1 else "pairs"} of
    teacher and student{rest}. The setting of every method, teacher and student was chosen on
    validation data, in {trials(found)} trials each ([each data set's section](study_data.md) names
    them); then {listed(sorted({one.seeds for one in found}))} seeds were tested.{superseded(found)}
    Tables have mean ± standard deviation over the seeds; brackets are 95 % intervals of paired
    differences, each on its own. p is Wilcoxon's, corrected by Holm: KD, G-CRD and
    their sum among themselves, another method over all of its pair.
    Both cover what a seed draws: initial weights, dropout, the teacher, and the split if the data
    set has none. They cover neither other test rows (all seeds share them, and in the production
    setting draw which of them are unseen) nor another choice of settings. The seeds of the trials
    are also the first that are tested, for every method alike."""
    return joined(
        "## At a glance",
        prose(intro),
        "### Which method helps which student",
        counts(columns),
        "### Teacher and student",
        gaps(found),
        "### Ranks over data sets",
        ranks(columns),
    )


def superseded(found: list[Found]) -> str:
    """Test runs that no longer count."""
    n = sum(one.superseded for one in found)
    return f""" {n} test runs are of settings that more trials replaced; no test score chose a
    setting.""" if n else ""  # fmt: skip


def counts(columns: list[Column]) -> str:
    """For each method: in how many pairs it is better than KD, and worse."""
    columns = [column for column in columns if "kd" in column.cells and len(column.cells) > 2]
    scored = [column for column in columns if in_points(column)]
    if not columns:
        return "No method beside KD is complete in any pair yet."
    against = [differences(column.cells, "kd") for column in scored]
    students = list(dict.fromkeys(column.student for column in scored))
    rows = []
    for method in methods(scored):
        row = [label(method)]
        for student in [*students, None]:
            of = [
                one[method]
                for column, one in zip(scored, against, strict=True)
                if method in one and student in (None, column.student)
            ]
            row.append(counted(of))
        rows.append(row)
    return joined(
        prose("""In how many pairs of teacher and student with scores in per cent a method is
        *better* than KD · *not told apart* from it · *worse*, at p < 0.05. In up to one pair of
        twenty, chance alone gives some method such a p."""),
        table(["method", *(f"{name} student" for name in students), "all"], rows),
        prose("""Every pair, the difference to KD in points (an error: in per cent of KD's),
        KD's own to no distillation. Numbers in bold have p < 0.05."""),
        wide(image("_static/study_glance.svg", "Differences to KD of every method in every pair")),
    )  # fmt: skip


def gaps(found: list[Found]) -> str:
    """Where a teacher has something to teach: its score minus that of the student alone."""
    columns = [column for one in found for column in one.columns if not math.isnan(column.gap)]
    percent = [column for column in columns if in_points(column)]
    close = [column for column in percent if column.close]
    if not columns:
        return "No pair has both yet."
    text = f"""The teacher is two points or more ahead of the student alone in
    {len(percent) - len(close)} of {len(percent)} pairs."""
    text += " In the others, in italics below, there is less to distil." if close else ""
    names = list(dict.fromkeys(column.name for column in columns))
    rows = []
    for one in found:
        shown = {column.name: decimal(column.gap, places(column.teaching.mean), "+")
                 for column in one.columns if column in columns}  # fmt: skip
        shown |= {column.name: f"*{shown[column.name]}*" for column in one.columns
                  if column in close}  # fmt: skip
        rows += [[one.title, *(shown.get(name, "") for name in names)]] if shown else []
    return joined(
        prose(text), dropdown("Teacher minus student alone", table(["data", *names], rows))
    )


def ranks(columns: list[Column]) -> str:
    strict, lenient = (ranking(columns, by_student=by_student) for by_student in (False, True))
    complete, names = ranked(columns)
    if strict is None:
        return prose(f"Ranks need {FEWEST_SAMPLES} data sets on which KD and G-CRD are complete.")
    text = f"""{len(names)} methods that all have, by their mean scores in {len(complete)} pairs;
    ranks are averaged within a data set, for it is the data sets that are a sample: pairs
    of one share its rows and its teachers. Friedman's test over {len(strict.samples)} data sets: p
    {chance(strict.p, "= ")}. Methods that a bar joins differ by less than Nemenyi's critical
    difference at 5 %, {strict.critical:.1f} ranks. Were each student of a data set a sample of its
    own, it would be {lenient.critical:.1f} (dashed), and p {chance(lenient.p, "= ")}."""
    rows = [[label(name), f"{rank:.1f}", f"{lenient.average[name]:.1f}"]
            for name, rank in sorted(strict.average.items(), key=lambda item: item[1])]  # fmt: skip
    head = ["method", f"rank, {len(strict.samples)} data sets",
            f"rank, {len(lenient.samples)} students"]  # fmt: skip
    return joined(
        prose(text),
        wide(image("_static/study_ranks.svg", "Average ranks with critical difference")),
        dropdown("Average ranks", table(head, rows)),
    )


# How it was made ----------------------------------------------------------------------------------


def details(found: list[Found]) -> str:
    tuning = sorted({one.tuning_seeds for one in found})
    named = [pair for one in found for column in one.columns for pair in column.cells.items()]
    cells = [cell for name, cell in named if name != NONE]
    models = [cell for one in found for *_, cell in alone(one)]
    edge, free = (sum(bool(cell.edges) for cell in some) for some in (cells, models))
    single = sum(bool(cell.single) for cell in models)
    rule = f"""Tuning is one search for all. It tries five values of the first option, a weight or
    a dropout rate, then neighbours of the best point so far, so that it goes on where the best
    ones are. The mean validation score of the first {listed(tuning)} seeds decides. Each had
    {trials(found)} trials; *{label(plan.NONE_TWICE)}* and *{label(plan.TWICE)}* had twice as
    many, to show what more search gives. Methods choose the student's dropout anew and keep its
    other options. KD beside another loss keeps the setting that it has alone: a sum has KD's trials
    and as many of its own. The epoch of a run is the best on validation data, of at most
    {plan.EPOCHS}, with a patience of {plan.PATIENCE}, unless a command says otherwise. The
    objective is cross-entropy on training rows plus the weight times the loss on all rows, by Adam;
    the GAT has 4 heads. Losses over all pairs draw 1,024 rows in each step (`--max-samples`), and
    G-CRD's heads are 64 wide; the library's defaults are all rows and 256."""
    at_edge = f"""A winner is at an edge if it has the largest or smallest value that was tried of
    an option, and there are values beyond it: {edge} of {len(cells)} methods, {free} of
    {len(models)} models alone. Of {single} models alone, an option has kept its first value in
    all trials, and is not counted."""
    machines = sorted({f"graphkd {h['graphkd']}, torch {h['torch']}, PyG {h['torch_geometric']}, "
                       f"Python {h['python']}, {h['machine']}"
                       for h in (one.header for one in found)})  # fmt: skip
    return joined(prose(rule), prose(at_edge), prose(f"Run with {'; '.join(machines)}."))


def trials(found: list[Found]) -> str:
    """The trials that were made of everything but what had twice as many."""
    columns = [column for one in found for column in one.columns]
    cells = [cell for one in found for *_, cell in alone(one)]
    cells += [cell for column in columns for name, cell in column.cells.items()
              if name not in TWICE]  # fmt: skip
    numbers = {cell.trials for cell in cells}
    return f"{min(numbers)} to {max(numbers)}"
