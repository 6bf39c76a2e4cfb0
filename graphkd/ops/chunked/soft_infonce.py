r"""The row values of G-CRD with soft targets, a block of anchors at a time, with the gradients.

Replaces KL of ``(t @ t.T / τ_t).softmax(1)`` from ``(p @ k.T / τ).softmax(1)`` for unit rows p of
the student, k of the keys and t of the teacher.

With the logits s of the student and r of the teacher, let x = r − s − c, where
c = log Σ_k b_ik exp(r_ik − s_ik) and b is the softmax of s. Then a = b exp(x) is the softmax of r,

    value_i = Σ_j a_ij x_ij − (a_ij − b_ij),    ∂value_i/∂s_ij = −(a_ij − b_ij),

and a − b = b expm1(x) keeps its digits where both nearly agree, if c is right to the rounding of x.
A difference of two log-sums is not. But it is near enough for Σ_j (a_ij − b_ij), which it leaves
above 0, to say what is missing: c grows by the logarithm of one plus that sum.

Where the keys are the targets themselves, r − s is one product, with the difference of t/τ_t and
p/τ. Where the anchors are, it is one with the difference of t/τ_t and k/τ.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from graphkd._powers import exp_
from graphkd._precision import exact
from graphkd.ops._autograd import fused
from graphkd.ops._blocks import breadth, numbers, slices
from graphkd.ops.chunked.infonce import bounded, tile_height
from graphkd.ops.divergence import kl_terms
from graphkd.ops.reference.soft_infonce import Targets
from graphkd.similarity import unit_and_inverse, unit_gradient_, unit_rows

# A tile of anchors and keys has at most this many numbers; four are held.
BLOCK = 2**20
# Below this, a row's value needs terms that do not cancel.
_QUICK = 0.02
# No exponent below this counts beside one of 0. Processors are very slow on denormal numbers.
_VANISHED = -60.0
# From here on, exp(x) b may have lost b, or overflow.
_FAR = 20.0
# A key with an x below this has lost all to the teacher's others. Its rounding must not grow by x.
_LOST = {torch.float32: -20.0, torch.float64: -40.0}
# A teacher's temperature below this counts as this: c would lose its digits to 1/τ_t.
_COLDEST = {torch.float32: 1e-7, torch.float64: 1e-10}


def soft_infonce(
    p: Tensor,
    q: Tensor,
    more: Tensor,
    targets: Targets,
    temperature: float | Tensor,
    chunk_size: int | None,
    weight: Tensor | None = None,
) -> Tensor:
    """KL(a_i ‖ b_i) for every row i, the softmaxes of teacher and student over all keys.

    Args:
        p: Anchors.
        q: Keys.
        more: Further keys, which get no gradient.
        targets: The teacher's side, which gets no gradient.
        temperature: The temperature of the student's softmax; a tensor may learn.
        chunk_size: How many anchors make a block.
        weight: How much each row will count in the value; None: all the same.
    """
    rest = more, temperature, *targets, chunk_size or 0
    if isinstance(temperature, Tensor):
        divided = unit_rows(exact(p)) / temperature
        return _learned(divided, q, *rest, expected=weight)
    return _soft_infonce(p, q, *rest, expected=weight)


class Keys(NamedTuple):
    """Unit keys, and the teacher's unit rows of these; None if they are the keys themselves."""

    rows: Tensor
    targets: Tensor | None
    apart: bool = False
    """Whether ``targets`` have the keys taken off already: their products are then r − s."""

    def at(self, rows: slice) -> "Keys":
        """The same of these keys."""
        targets = None if self.targets is None else self.targets[rows]
        return Keys(self.rows[rows], targets, self.apart)


class Anchors(NamedTuple):
    """What keys meet: unit rows over their temperature."""

    student: Tensor
    other: Tensor
    """What meets the keys' targets, or the keys again: the teacher's, or the difference of both."""

    def at(self, rows: slice) -> "Anchors":
        """The same of these rows."""
        return Anchors(self.student[rows], self.other[rows])


def prepare(
    student: Tensor,
    unit_q: Tensor,
    unit_more: Tensor,
    targets: Targets,
    temperature: float | Tensor,
) -> tuple[Anchors, Keys]:
    """The anchors and all keys, from the student's unit rows over the temperature and unit keys.

    Those of the anchors and their own keys are in float64: it leaves a small difference of two rows
    its digits.
    """
    dtype = unit_more.dtype
    unit_t = unit_q if targets.rows is None else unit_and_inverse(exact(targets.rows))[0]
    cold = max(targets.temperature, _COLDEST[dtype])
    teacher, keys = unit_t / cold, torch.cat([unit_q.to(dtype), unit_more])
    if targets.of_anchors:
        student, apart = student.to(dtype), unit_t * (temperature / cold) - unit_q
        return Anchors(student, student), Keys(keys, apart.to(dtype), apart=True)
    if targets.rows is None and targets.more is None:
        return Anchors(student.to(dtype), (teacher - student).to(dtype)), Keys(keys, None)
    others = unit_more if targets.more is None else unit_and_inverse(targets.more)[0]
    all_targets = torch.cat([unit_t.to(dtype), others])
    return Anchors(student.to(dtype), teacher.to(dtype)), Keys(keys, all_targets)


class Sums(NamedTuple):
    """Of a block of anchors over some keys: Σ_j exp(s_ij − peak_i), and c, in float64."""

    peak: Tensor
    total: Tensor
    c: Tensor

    @staticmethod
    def of_none(anchors: Anchors) -> "Sums":
        """The sums over no keys."""
        zeros = exact(anchors.student.new_zeros(anchors.student.size(0), 1))
        return Sums(zeros - torch.inf, zeros, zeros)

    def after(self, other: "Sums") -> "Sums":
        """The sums over these keys and those of another: exp(c) is a mean by the shares of b."""
        peak = torch.maximum(self.peak, other.peak)
        logs = [x.total.log() + (x.peak - peak) for x in (self, other)]
        whole = torch.logaddexp(*logs)
        share, before = (x - whole for x in logs)
        step = self.c - other.c
        # Near convergence, c has to be right to the rounding of the step.
        near = other.c + (share.exp() * step.clamp(-1, 1).expm1()).log1p()
        far = torch.logaddexp(before + other.c, share + self.c)
        return Sums(peak, whole.exp(), torch.where(step.abs() < 1, near, far))


class Comparison:
    """Room for one tile of anchors and keys: b, a − b and x.

    Args:
        like: A tensor of the dtype and device.
        height: The most anchors of a tile.
        width: The most keys of a tile.
        keys: How many keys there are in all.
        temperature: The student's temperature, or None if it is not known.
    """

    b: Tensor
    x: Tensor
    gap: Tensor

    def __init__(
        self, like: Tensor, height: int, width: int, keys: int, temperature: float | None
    ) -> None:
        self._rooms = like.new_empty(4, height * max(width, 1))
        self._single = keys == 1
        # Whether exp(x) and 1/b are far from any overflow.
        self._safe = temperature is not None and bounded(temperature, keys, like.dtype)

    def _load(self, anchors: Anchors, keys: Keys) -> None:
        """Compute the student's logits s, and r − s."""
        shape = anchors.student.size(0), keys.rows.size(0)
        rooms = (room[: math.prod(shape)].view(shape) for room in self._rooms)
        self.b, self.x, self.gap, self._spare = rooms
        torch.mm(anchors.student, keys.rows.T, out=self.b)
        targets = keys.rows if keys.targets is None else keys.targets
        torch.mm(anchors.other, targets.T, out=self.x)
        if keys.targets is not None and not keys.apart:
            self.x.sub_(self.b)
        if self._single:  # of one key, both softmaxes are 1
            self.x.mul_(0)

    def measure(self, anchors: Anchors, keys: Keys) -> Sums:
        """The sums over these keys, as if they were all, and b, a − b and x from these sums."""
        self._load(anchors, keys)
        peak, total = self._log_sum(self.b)
        other_peak, other_total = self._log_sum(torch.add(self.b, self.x, out=self._spare))
        c = ((other_peak - peak) + (other_total / total).log()).to(self.b.dtype)
        lift = self._compare(peak, total, c).sum(dim=1, keepdim=True).log1p()
        self._raise(lift)
        return Sums(peak, total, exact(c) + lift)

    def compare(self, anchors: Anchors, keys: Keys, sums: Sums) -> None:
        """Make b, a − b and x from the sums over all keys."""
        self._load(anchors, keys)
        c = sums.c.to(self.b.dtype)
        self._compare(sums.peak, sums.total, c)
        self._raise((sums.c - c).to(c.dtype))

    def _log_sum(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        peak = logits.amax(dim=1, keepdim=True)
        powers = torch.sub(logits, peak, out=self.gap).clamp_(min=_VANISHED)
        return exact(peak), exact(exp_(powers).sum(dim=1, keepdim=True))

    def _compare(self, peak: Tensor, total: Tensor, c: Tensor) -> Tensor:
        """Turn s into b, and r − s into x, with c as it is known; gives a − b."""
        dtype, a = c.dtype, None
        self.x.sub_(c)
        self.b.sub_(peak.to(dtype))
        if not self._safe:
            a = exp_((self.b + self.x).sub_(total.log().to(dtype)))
            self.b.masked_fill_(self.b < _VANISHED, -torch.inf)
        exp_(self.b).mul_(total.reciprocal().to(dtype))
        torch.expm1(self.x.clamp_(min=_LOST[dtype]), out=self.gap).mul_(self.b)
        if a is not None:
            self.gap.copy_(torch.where(self.x > _FAR, a - self.b, self.gap))
        return self.gap

    def _raise(self, lift: Tensor) -> None:
        """Let c grow."""
        self.x.sub_(lift)
        self.gap.mul_((-lift).exp()).addcmul_(self.b, (-lift).expm1())

    def values(self) -> Tensor:
        """Each anchor's value over the keys of the tile."""
        parts = self.x, self.gap, self.b
        if self.x.device.type != "cpu":
            return _accurate(*parts)
        terms = torch.add(self.gap, self.b, out=self._spare).mul_(self.x).sub_(self.gap)
        values: Tensor = terms.sum(dim=1)
        few = (values < _QUICK).nonzero().squeeze(1)
        if few.numel():
            values[few] = _accurate(*(x.index_select(0, few) for x in parts))
        return values


def _accurate(x: Tensor, gap: Tensor, b: Tensor) -> Tensor:
    # Of a key that the teacher gives nothing, rounding may leave less.
    return kl_terms(x, (gap + b).clamp_(min=0).log_(), b.log()).sum(dim=1)


def _sweep_divided(
    weights: Tensor | None,
    student: Tensor,
    q: Tensor,
    more: Tensor,
    temperature: float | Tensor,
    targets: Targets,
    chunk_size: int,
    need_p: bool,
    need_q: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The rows, and the gradients of Σ weight_i · row_i for anchors as they meet keys, and for q.

    The sums come first. If all keys fit in one tile, that tile is then compared already. A GPU's
    temperature is not looked at: a step would wait for it.
    """
    unit_q, inverse_q = unit_and_inverse(exact(q))
    anchors, keys = prepare(student, unit_q, unit_and_inverse(more)[0], targets, temperature)
    n, number, most = q.size(0), keys.rows.size(0), numbers(q.device, BLOCK)
    height = tile_height(n, number, chunk_size, most)
    width = breadth(height, number, most)
    tiles = list(slices(number, width))
    unknown = isinstance(temperature, Tensor) and q.device.type != "cpu"
    known = None if unknown else float(temperature)
    room = Comparison(q, height, min(width, number), number, known)
    rows = q.new_zeros(n)
    grad = torch.zeros_like(anchors.student) if need_p else q.new_empty(0)
    grad_q = torch.zeros_like(q) if need_q else q.new_empty(0)
    for i in slices(n, height):
        block = anchors.at(i)
        sums = Sums.of_none(block)
        for j in tiles:
            sums = room.measure(block, keys.at(j)).after(sums)
        for j in tiles:
            if len(tiles) > 1:
                room.compare(block, keys.at(j), sums)
            rows[i] += room.values()
            if need_p:
                grad[i].addmm_(room.gap, keys.rows[j], alpha=-1)
            own = grad_q[j]  # further keys have no gradient
            if need_q:
                pushed = block.student if weights is None else block.student * weights[i, None]
                own.addmm_(room.gap[:, : own.size(0)].T, pushed, alpha=-1)
    if need_p and weights is not None:
        grad.mul_(weights[:, None])
    if need_q:
        unit_gradient_(grad_q, keys.rows[:n], inverse_q.to(q.dtype))
    return rows, grad, grad_q


def _sweep(
    weights: Tensor | None,
    p: Tensor,
    q: Tensor,
    more: Tensor,
    temperature: float,
    teacher_temperature: float,
    targets: Tensor | None,
    more_targets: Tensor | None,
    of_anchors: bool,
    chunk_size: int,
    need_p: bool,
    need_q: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same with the gradient for anchors p as they come."""
    unit, inverse = unit_and_inverse(exact(p))
    teacher = Targets(teacher_temperature, targets, more_targets, of_anchors)
    rest = temperature, teacher, chunk_size, need_p, need_q
    rows, grad_p, grad_q = _sweep_divided(weights, unit / temperature, q, more, *rest)
    if need_p:
        unit_gradient_(grad_p.div_(temperature), unit.to(p.dtype), inverse.to(p.dtype))
    return rows, grad_p, grad_q


def _sweep_learned(
    weights: Tensor | None,
    p: Tensor,
    q: Tensor,
    more: Tensor,
    temperature: Tensor,
    teacher_temperature: float,
    targets: Tensor | None,
    more_targets: Tensor | None,
    of_anchors: bool,
    chunk_size: int,
    need_p: bool,
    need_q: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for anchors that the temperature divides already, in float64."""
    teacher = Targets(teacher_temperature, targets, more_targets, of_anchors)
    rest = temperature, teacher, chunk_size, need_p, need_q
    rows, grad_p, grad_q = _sweep_divided(weights, p, q, more, *rest)
    return rows, grad_p.to(p.dtype), grad_q


_soft_infonce = fused("soft_infonce", _sweep, backend="chunked")
_learned = fused("learned_soft_infonce", _sweep_learned, backend="chunked")
