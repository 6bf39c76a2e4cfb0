"""The primitives of the contrastive losses with all their backends, as in ``primitives.py``."""

from torch import Tensor

from graphkd.ops import chunked, reference
from graphkd.ops.backends import Ways, programs_for_gpus, run_rows
from graphkd.ops.reference.soft_infonce import Targets


def infonce(
    loss: str,
    p: Tensor,
    q: Tensor,
    more: Tensor,
    drawn: Tensor | None,
    temperature: float | Tensor,
    backend: str,
    chunk_size: int | None,
    precision: str,
    weight: Tensor | None = None,
) -> Tensor:
    """−log softmax_j(cos(p_i, k_j) / temperature) at j = i, over the keys k: q, and more.

    Of q, only the rows with the numbers ``drawn`` are negatives, if it is given. A row's sum over
    them is scaled to the number of all other rows. ``weight`` says how much each row will count in
    the value, which spares the chunked backend a second sweep.
    """
    args = p, q, more, drawn, temperature
    ways: Ways = {
        "reference": lambda: reference.infonce(*args),
        "chunked": lambda: chunked.infonce(*args, chunk_size, weight),
        "triton": lambda: programs_for_gpus().infonce(*args, precision),
    }
    return run_rows(loss, backend, chunk_size, p, q, ways, precision)


def symmetric_infonce(
    loss: str,
    p: Tensor,
    q: Tensor,
    more: Tensor,
    drawn: Tensor | None,
    temperature: float | Tensor,
    backend: str,
    chunk_size: int | None,
    precision: str,
    weight: Tensor | None = None,
) -> Tensor:
    """The mean of ``infonce(p, q)`` and ``infonce(q, p)``, the second without further keys."""
    args = p, q, more, drawn, temperature
    ways: Ways = {
        "reference": lambda: reference.symmetric_infonce(*args),
        "chunked": lambda: chunked.symmetric_infonce(*args, chunk_size, weight),
        "triton": lambda: programs_for_gpus().symmetric_infonce(*args, precision),
    }
    return run_rows(loss, backend, chunk_size, p, q, ways, precision)


def soft_infonce(
    loss: str,
    p: Tensor,
    q: Tensor,
    more: Tensor,
    targets: Targets,
    temperature: float | Tensor,
    backend: str,
    chunk_size: int | None,
    weight: Tensor | None = None,
) -> Tensor:
    """KL(a_i ‖ b_i) for every row i, two softmaxes over the keys k: q, and more.

    b_ij is that of cos(p_i, k_j) / temperature, and a_ij of cos(t_i, t_j) over the targets'
    temperature, of the targets t. These get no gradient. ``weight`` is as in ``infonce``.
    """
    args = p, q, more, targets, temperature
    ways: Ways = {
        "reference": lambda: reference.soft_infonce(*args),
        "chunked": lambda: chunked.soft_infonce(*args, chunk_size, weight),
    }
    return run_rows(loss, backend, chunk_size, p, q, ways)


def nce(
    loss: str,
    anchors: Tensor,
    positives: Tensor,
    keys: Tensor,
    own: Tensor,
    shift: Tensor,
    temperature: float,
    backend: str,
    chunk_size: int | None,
) -> Tensor:
    """log(1 + exp(−x_i)) + Σ_k log(1 + exp(x_ik)), k ≠ own_i, for x = ⟨p, key⟩/temperature − shift.

    x_i belongs to the anchor's positive, x_ik to a key.
    """
    args = anchors, positives, keys, own, shift, temperature
    ways: Ways = {
        "reference": lambda: reference.nce(*args),
        "chunked": lambda: chunked.nce(*args, chunk_size),
    }
    return run_rows(loss, backend, chunk_size, anchors, positives, ways)
