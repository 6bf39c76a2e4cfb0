"""How the four rules of docs/study.md fared on the pairs that had no part in making them."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from _study_lead import FAR, SHOWN, Pair, brings_half
from _study_tables import interval, pair_names, sure, table
from _tables import joined, prose
from study.report import decimal
from study.statistics import NONE, Column, Difference, differences

# The rules were made from these: data set, setting, teacher.
MADE_FROM = {("Digits", "transductive", "GAT"), ("Cora", "transductive", "GAT")}
# And these were named beforehand, to try them on.
NAMED = {("CiteSeer", "transductive"), ("Photo", "transductive")}
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
    if sure(more) or abs(more.mean) > DETAIL:
        return Outcome(NO, more)
    return Outcome(YES if max(-more.low, more.high) <= DETAIL else MEAN, more)


def rule_4(column: Column, gains: dict[str, Difference]) -> Outcome | None:
    """With a lead of less than three points no method gains two."""
    if column.gap >= LITTLE:
        return None
    of = [gains[name] for name in SHOWN[1:]]
    if gained := [one for one in of if one.mean >= GAIN]:
        return Outcome(NO, max(gained, key=lambda one: (sure(one), one.mean)))
    most = max(of, key=lambda one: one.high)
    return Outcome(YES if most.high < GAIN else MEAN, most)


RULES: list[Callable[[Column, dict[str, Difference]], Outcome | None]] = [
    rule_1, rule_2, rule_3, rule_4,
]  # fmt: skip
HEADS = ["1: KD − none", "2: G-CRD − KD", "3: the sum − KD", "4: most − none"]


def guide(found: list[Pair]) -> str:
    tried = [
        (
            name + mark(column),
            column,
            [rule(column, differences(column.cells, NONE)) for rule in RULES],
        )
        for name, (_, column) in zip(pair_names(found), found, strict=True)
        if (column.dataset, column.setting, column.teacher) not in MADE_FROM
    ]
    if not tried:
        return prose("No pair has tried them yet.")
    counts = [tally(outcomes) for outcomes in zip(*(row for *_, row in tried), strict=True)]
    rows = [
        [name, decimal(column.gap, 1, "+"), *map(cell, outcomes)]
        for name, column, outcomes in tried
    ]
    text = f"""All {len(tried)} pairs that had no part in making the rules, with the difference that
    decides. Rule 1 holds in {counts[0]}, rule 2 in {counts[1]}, rule 3 in {counts[2]}, rule 4 in
    {counts[3]}. ✓: it holds; ≈: the mean is as it says, and chance not ruled out; ✗: it fails.
    † named beforehand; ‡ with data, in another setting or under another teacher, of which the rules
    were made."""
    return joined(prose(text), table(["pair", "lead", *HEADS], rows))


def mark(column: Column) -> str:
    if (column.dataset, column.setting) in NAMED:
        return " †"
    return " ‡" if column.dataset in {dataset for dataset, *_ in MADE_FROM} else ""


def tally(outcomes: Iterable[Outcome | None]) -> str:
    verdicts = [one.verdict for one in outcomes if one is not None]
    mean = f" (in {verdicts.count(MEAN)} more by the mean)" if MEAN in verdicts else ""
    return f"{verdicts.count(YES)}{mean} of {len(verdicts)}"


def cell(one: Outcome | None) -> str:
    # A tenth of a point is enough here.
    return f"{one.verdict} {interval(one.of, 0)[0].replace('**', '')}" if one else ""
