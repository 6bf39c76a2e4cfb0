"""The check of both models' predictions against the labels: a teacher that is worse."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from graphkd.diagnostics.doctor.call import Call, is_logits, side_of, spread
from graphkd.diagnostics.doctor.finding import Finding
from graphkd.diagnostics.doctor.windows import CALLS, STEPS

# A difference counts if it is so many standard deviations wide (one-sided, p = 3e-5: it is tested
# in every window), and so many points: more of them on nodes that the student learns from, which it
# may know by heart.
DEVIATIONS, POINTS, POINTS_BY_HEART = 4.0, 0.05, 0.25
# The nodes that it does not learn from are enough from so many labels on.
HELD_OUT = 50
_MOST = 2048


class TeacherBelowStudent:
    """Compares, row by row, who is right."""

    def __init__(self) -> None:
        self._open: list[tuple[float, ...]] = []
        self._labels: set[tuple[float, ...]] = set()
        self._first = self._step = 0
        self._by_heart = self._ended = False
        self._worst: tuple[float, float, float, int, int] | None = None

    def see(self, call: Call) -> None:
        """Add the rows of a call to those of its window."""
        if not call.training or call.y is None:
            return
        found = [
            (scores[0], scores[1], by_heart)
            for student, teachers, y, by_heart in _predictions(call)
            if (scores := _scores(student, teachers, y)) is not None
        ]
        if not found:
            return
        right_s = torch.cat([right for right, _, _ in found])
        right_t = torch.cat([right for _, right, _ in found])
        if not right_s.numel():
            return
        if not self._open:
            self._first, self._by_heart = call.step, False
        self._by_heart |= any(by_heart for *_, by_heart in found)
        ahead = right_s - right_t
        sums = (right_s.sum(), right_t.sum(), ahead.sum(), ahead.square().sum())
        self._open.append((right_s.numel(), *map(float, sums)))
        y = next(iter(call.y.values())) if isinstance(call.y, Mapping) else call.y
        self._labels.add(tuple(y[:64].flatten().nan_to_num(-1.0).tolist()))
        self._step = call.step
        if len(self._open) >= CALLS and call.step - self._first >= STEPS - 1:
            self._worst = self._compared() or self._worst
            self._open, self._labels, self._ended = [], set(), True

    def _compared(self) -> tuple[float, float, float, int, int] | None:
        """The open window, if the teacher is worse in it.

        Batches of a window add up; the same nodes again and again count once.
        """
        share = 1 / len(self._open) if len(self._labels) == 1 else 1.0
        columns = zip(*self._open, strict=True)
        rows, right_s, right_t, ahead, squares = (share * sum(column) for column in columns)
        deviations = ahead / math.sqrt(squares) if squares else 0.0
        points = POINTS_BY_HEART if self._by_heart else POINTS
        if deviations <= DEVIATIONS or ahead / rows <= points:
            return None
        return right_t / rows, right_s / rows, deviations, round(rows), self._step

    def findings(self) -> Iterator[Finding]:
        """The latest window in which the teacher was worse; of a short run, all of it."""
        early = self._compared() if self._open and not self._ended else None
        worst = self._worst or early
        if worst is None:
            return
        teacher, student, deviations, rows, step = worst
        yield Finding(
            "teacher-below-student",
            f"On the {rows} labelled rows of a window that ended at step {step}, the teacher is "
            f"right on {teacher:.1%} and the student on {student:.1%}, {deviations:.0f} standard "
            "deviations more than chance allows. The student learns its errors.",
            "Check that z_t comes from the trained checkpoint, in eval mode, with the classes in "
            "the student's order. A teacher that is right and worse has nothing to teach: stop "
            "early, or take a better one.",
        )


_Compared = tuple[Tensor, list[Tensor], Tensor, bool]


def _predictions(call: Call) -> Iterator[_Compared]:
    """Logits of student and teachers with labels, by node type if there are types.

    With them comes whether the labels are those that the student learns from.
    """
    logits = [name for name in call.arguments if is_logits(name)]
    z_s, z_t = (
        next((call.arguments[name] for name in logits if side_of(name) == side), None)
        for side in "st"
    )
    if isinstance(call.y, Mapping):
        if isinstance(z_s, Mapping) and isinstance(z_t, Mapping):
            for key in call.y:
                if key in z_s and key in z_t:
                    yield from _of_one(z_s[key], z_t[key], call.y[key], call, key)
        return
    if isinstance(z_s, Mapping) and isinstance(z_t, Mapping) and len(z_s) == 1:
        [(key, z_s)], z_t = z_s.items(), z_t.get(next(iter(z_s)))
    yield from _of_one(z_s, z_t, call.y, call, None)


def _of_one(z_s: Any, z_t: Any, y: Any, call: Call, key: Any) -> Iterator[_Compared]:
    several = z_t.values() if isinstance(z_t, Mapping) else z_t
    teachers = [z_t] if isinstance(z_t, Tensor) else list(several or [])
    sides = [z_s, *teachers]
    if not teachers or not all(isinstance(z, Tensor) and z.dim() == 2 for z in sides):
        return
    if not isinstance(y, Tensor) or any(z.shape != z_s.shape for z in teachers):
        return
    label = "z" if key is None else f"z[{key!r}]"
    y, by_heart = y.detach(), True
    if y.size(0) == z_s.size(0):
        y, by_heart = _held_out(z_s, y, call.task_loss)
        y = call.rows(label, y)
    chosen = [call.rows(label, z) for z in sides]
    if y.size(0) == chosen[0].size(0):
        own, *others, y = (spread(h, _MOST) for h in (*chosen, y))
        yield own, others, y, by_heart


def _held_out(z_s: Tensor, y: Tensor, task: Tensor | None) -> tuple[Tensor, bool]:
    """The labels without those that the task pulls on, if enough are left, and whether not."""
    pull = None
    if task is not None and task.requires_grad and z_s.requires_grad:
        pull = torch.autograd.grad(task.mean(), z_s, retain_graph=True, allow_unused=True)[0]
    if pull is None:
        return y, True  # nobody knows
    unknown = torch.nan if y.is_floating_point() else -1
    signed = y if y.is_floating_point() else y.long()
    others = signed.clone()
    others[pull.abs().amax(dim=1) != 0] = unknown
    known = ~others.isnan() if y.is_floating_point() else others >= 0
    enough = int(known.flatten(1).any(dim=1).sum() if y.dim() > 1 else known.sum()) >= HELD_OUT
    return (others, False) if enough else (y, True)


def _scores(z_s: Tensor, teachers: list[Tensor], y: Tensor) -> tuple[Tensor, Tensor] | None:
    """Whether each model is right, for each row with a label: the best teacher counts."""
    if y.dim() == 2 and y.size(1) == 1:
        y = y.view(-1)
    classes = z_s.size(1)
    if y.dim() == 1 and classes > 1:
        if y.is_floating_point() or y.dtype == torch.bool:
            return None
        known = (y >= 0) & (y < classes)
        rights = [(z.argmax(dim=1) == y)[known].float() for z in (z_s, *teachers)]
    else:
        y = y.view(-1, 1) if y.dim() == 1 else y
        present = ~y.isnan() if y.is_floating_point() else y >= 0
        if y.shape != z_s.shape or not bool(((y == 0) | (y == 1) | ~present).all()):
            return None  # values to regress
        counts = present.sum(dim=1)
        known = counts > 0
        rights = [
            (((z > 0) == (y > 0.5)) & present).sum(dim=1)[known] / counts[known]
            for z in (z_s, *teachers)
        ]
    return rights[0], max(rights[1:], key=lambda right: float(right.sum()))
