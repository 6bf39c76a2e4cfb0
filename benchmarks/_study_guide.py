"""How the four rules of docs/study.md fared on the pairs that had no part in making them."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from _study_lead import FAR, Pair, brings_half
from _study_tables import interval, pair_names, sure, table
from _tables import joined, prose
from study.report import decimal
from study.statistics import NONE, Column, Difference, differences

# The rules were made from these: data set, setting, teacher.
MADE_FROM = {("Digits", "transductive", "GAT"), ("Cora", "transductive", "GAT")}
LITTLE = 3  # points of lead, below which rule 4 expects no gain of GAIN points
GAIN = 2
DETAIL = 1  # points: the sum is within so many of KD, says rule 3
YES, MEAN, NO = "✓", "≈", "✗"


class Outcome(NamedTuple):
    verdict: str
    of: Difference  # that decided


def rule_1(column: Column, gains: dict[str, Difference]) -> Outcome | None:
    """KD gains, and at least half of the lead, if that is four points or more."""
    if column.gap < FAR:
        return None
    kd = gains["kd"]
    enough = sure(kd) and kd.mean >= column.gap / 2
    return Outcome(NO if not enough else YES if brings_half(column, "kd") else MEAN, kd)


def rule_2(column: Column, gains: dict[str, Difference]) -> Outcome | None:
    """Where KD gains so, G-CRD gains, too, and less."""
    first = rule_1(column, gains)
    if first is None or first.verdict == NO:
        return None
    less = differences(column.cells, "kd")["gcrd"]
    enough = sure(gains["gcrd"]) and gains["gcrd"].mean > 0 and less.mean < 0
    return Outcome(NO if not enough else YES if sure(less) else MEAN, less)


def rule_3(column: Column, gains: dict[str, Difference]) -> Outcome:
    """KD + G-CRD is not told apart from KD, and within one point of it."""
    more = differences(column.cells, "kd")["kd+gcrd"]
    return Outcome(NO if sure(more) or abs(more.mean) > DETAIL else YES, more)


def rule_4(column: Column, gains: dict[str, Difference]) -> Outcome | None:
    """With a lead of less than three points no method gains two."""
    if column.gap >= LITTLE:
        return None
    most = max((gains[name] for name in ("kd", "gcrd", "kd+gcrd")), key=lambda one: one.mean)
    gained = [one for one in gains.values() if one.mean >= GAIN]
    if any(sure(one) for one in gained):
        return Outcome(NO, max(filter(sure, gained), key=lambda one: one.mean))
    return Outcome(MEAN if gained else YES, most)


RULES: list[Callable[[Column, dict[str, Difference]], Outcome | None]] = [
    rule_1, rule_2, rule_3, rule_4,
]  # fmt: skip
HEADS = ["1: KD − none", "2: G-CRD − KD", "3: the sum − KD", "4: most − none"]


def guide(found: list[Pair]) -> str:
    names = pair_names(found)
    tried = [
        (name, column, [rule(column, differences(column.cells, NONE)) for rule in RULES])
        for name, (_, column) in zip(names, found, strict=True)
        if (column.dataset, column.setting, column.teacher) not in MADE_FROM
    ]
    if not tried:
        return prose("No pair has tried them yet.")
    counts = [tally(outcomes) for outcomes in zip(*(row for *_, row in tried), strict=True)]
    rows = [
        [name, decimal(column.gap, 1, "+"),
         *map(shown, row)]
        for name, column, row in tried
    ]  # fmt: skip
    text = f"""All {len(tried)} pairs that had no part in making the rules, with the difference that
    decides. Rule 1 holds in {counts[0]}, rule 2 in {counts[1]}, rule 3 in {counts[2]}, rule 4 in
    {counts[3]}. ✓: it holds; ≈: the mean is as it says, and chance not ruled out; ✗: it fails."""
    return joined(prose(text), table(["pair", "lead", *HEADS], rows))


def tally(outcomes: Iterable[Outcome | None]) -> str:
    verdicts = [one.verdict for one in outcomes if one is not None]
    mean = f" (in {verdicts.count(MEAN)} more by the mean)" if MEAN in verdicts else ""
    return f"{verdicts.count(YES)}{mean} of {len(verdicts)}"


def shown(one: Outcome | None) -> str:
    # A tenth of a point is enough here.
    return f"{one.verdict} {interval(one.of, 0)[0].replace('**', '')}" if one else ""
