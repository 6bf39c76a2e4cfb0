"""How well two spaces fit onto each other as wholes: CKA and Procrustes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from graphkd._checks import describe
from graphkd._precision import full_precision
from graphkd.diagnostics._gate import matched_sides
from graphkd.diagnostics._moments import Second, side_moments

# Of a sum that is zero, rounding leaves less than this part of its terms.
_LEAST = 1e-12


def linear_cka(h_s: Tensor, h_t: Tensor, *, debiased: bool = False) -> Tensor:
    """Linear CKA."""
    check_debiased("linear_cka", debiased)
    h_s, h_t = matched_sides("linear_cka", h_s, h_t)
    with torch.no_grad(), full_precision(h_s.device):
        return cka(side_moments(h_s, h_t).second, debiased=debiased)


def procrustes_disparity(h_s: Tensor, h_t: Tensor) -> Tensor:
    """Procrustes."""
    h_s, h_t = matched_sides("procrustes_disparity", h_s, h_t)
    with torch.no_grad(), full_precision(h_s.device):
        return disparity(side_moments(h_s, h_t).second)


def check_debiased(measure: str, debiased: bool) -> None:
    """Raise unless ``debiased`` is a bool."""
    if not isinstance(debiased, bool):
        raise ValueError(f"{measure}: debiased must be True or False; got {describe(debiased)}.")


def cka(m: Second, *, debiased: bool = False) -> Tensor:
    """CKA, from the second moments of the rows."""
    whole = m.kernel_products
    if not debiased:
        return _alike(m, whole, torch.zeros_like(whole[0])).clamp(max=1)
    # Without the pairs i = j, and U-centred; the lengths are a column of the descriptions.
    part = m.count / max(m.count - 2, 1)
    lengths = (x[-2, -2] * part for x in (m.cross, m.s, m.t))
    three = [w - d - x for w, d, x in zip(whole, m.diagonals, lengths, strict=True)]
    return _alike(m, three, _LEAST * torch.stack(whole[1:])).clamp(min=-1, max=1)


def disparity(m: Second) -> Tensor:
    """The Procrustes disparity, from the second moments of the rows."""
    cross = m.cross[:-2, :-2]
    finite = cross.isfinite().all()
    # The decomposition refuses NaN.
    nuclear = torch.linalg.svdvals(cross.masked_fill(~finite, 0)).sum()
    fit = _alike(
        m, (nuclear.masked_fill(~finite, torch.nan), *m.squares), torch.zeros_like(nuclear)
    )
    return (1 - fit.square()).clamp(min=0)


def _alike(m: Second, three: Sequence[Tensor], least: Tensor) -> Tensor:
    """x_st / √(x_ss x_tt); where a side does not vary, 0, or 1 if neither does."""
    cross, own = three[0], torch.stack(three[1:])
    still = own <= least
    value = cross / own.masked_fill(still, 1).sqrt().prod()
    value = value.masked_fill(still.any(), 0).masked_fill(still.all(), 1)
    unknown = cross.isnan() if m.count else torch.ones_like(cross, dtype=torch.bool)
    return value.masked_fill(unknown, torch.nan)
