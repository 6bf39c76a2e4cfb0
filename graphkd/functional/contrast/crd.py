"""Contrastive representation distillation (CRD), against banks of all nodes' embeddings."""

import math
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_count, check_positive, describe
from graphkd.functional._options import check_blocked_options
from graphkd.functional._rows import matched_rows, row_weights
from graphkd.functional.contrast.banks import check_banks, contrast_with_banks, node_ids


def check_crd_options(
    loss: str, *, temperature: Any, num_negatives: Any, log_z: Any, **blocks: Any
) -> None:
    """Raise on an option of CRD that is out of range."""
    check_positive(f"{loss}: temperature", temperature)
    if num_negatives is not None:
        check_count(f"{loss}: num_negatives", num_negatives, least=1)
    if log_z is not None:
        if isinstance(log_z, bool) or not isinstance(log_z, Real):
            raise TypeError(f"{loss}: log_z must be a number or None; got {describe(log_z)}.")
        if not -math.inf < float(log_z) < math.inf:
            raise ValueError(f"{loss}: log_z must be finite; got {log_z!r}. Leave it at None.")
    check_blocked_options(loss, **blocks)


def crd_loss(
    h_s: Tensor,
    h_t: Tensor,
    bank_s: Tensor,
    bank_t: Tensor,
    ids: Tensor | None = None,
    *,
    temperature: float = 0.07,
    num_negatives: int | None = None,
    log_z: float | None = None,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    generator: torch.Generator | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Contrastive representation distillation against banks that hold an entry for every node.

    With unit rows s and t, the banks' entries :math:`\bar s` and :math:`\bar t` of all M nodes,
    K negatives :math:`\mathcal N_i` of node i, and the logistic function :math:`\sigma`,

    .. math::
        \ell(a, k) = \frac{\langle a, k\rangle}{\tau} - \log\frac ZM - \log K, \qquad
        L = \frac1N \sum_i \Bigl[-\log\sigma(\ell(s_i, \bar t_i))
            - \sum_{j \in \mathcal N_i} \log\sigma(-\ell(s_i, \bar t_j))\Bigr]
            + \Bigl[s \leftrightarrow t\Bigr]

    It is noise-contrastive estimation: how well one can tell a node's own entry from the entries
    of others. Both directions count. The entries are constants, and in this function so are the
    teacher's rows: the second direction adds a constant. Nothing is projected here, and no bank is
    changed: :class:`graphkd.CRDLoss` does both.

    By default the negatives are all M − 1 other entries, exactly, in blocks: :math:`O(N M d)` time
    and linear memory. With ``num_negatives=K``, K + 1 entries are drawn without replacement for the
    whole call; each row leaves out its own, or else the last. K is part of the formula: this is
    another loss, not an estimate of the loss with all negatives. Its variance over draws is about
    :math:`K (1 - K/M) \mathrm{Var}_j(f_j)`, where node j as a negative adds :math:`f_j` on average
    over the rows, in both directions. The variance does not fall with N; with a draw for each row
    it would.

    Args:
        h_s: Student rows.
        h_t: Teacher rows of the same width; they get no gradient.
        bank_s: An entry of unit length for each node's student row; used as it is.
        bank_t: The same for the teacher's.
        ids: The nodes of all rows, before ``index``: ``batch.n_id`` of a sampled batch. Default:
            the rows are all M nodes in their order. Nodes may repeat.
        temperature: :math:`\tau`.
        num_negatives: K; None: all other nodes.
        log_z: :math:`\log Z/M`, about the logarithm of the mean of :math:`\exp(\cos/\tau)` over all
            pairs. Default: a closed form for independent directions of this width.
        weight: A weight for each row, not negative, before ``index``; in the second direction, too.
            The mean divides by the weights' sum. It gets a gradient if it requires one.
        index: Boolean mask or row numbers of the rows that take part.
        generator: Source of randomness for ``num_negatives``; default: torch's global one.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per row).
        backend: ``"auto"``, ``"reference"`` (dense) or ``"chunked"`` (linear memory).
        chunk_size: Rows of a tile of the chunked backend; changes memory, not the value.

    Shapes:
        - **h_s:** :math:`[N, d]`
        - **h_t:** :math:`[N, d]`
        - **bank_s:** :math:`[M, d]`
        - **bank_t:** :math:`[M, d]`
        - **ids:** :math:`[N]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts, widths or devices differ, an input is not two-dimensional,
            ``weight`` is negative, or an option is out of range.
        TypeError: If an input is not a floating-point tensor, or ids are needed and missing.
        IndexError: If ``index`` names a row or ``ids`` a node that does not exist.

    Source: Tian, Krishnan and Isola, ICLR 2020, arXiv 1910.10699. The paper has Z = 1. The authors'
    code takes Z from its first batch and keeps it. It finds about the default of ``log_z``, because
    its banks start at random. It draws K = 16,384 entries for each row, with replacement and the
    own one among them, and adds 1e-7 to denominators.

    Example:
        >>> import torch
        >>> from graphkd.functional import crd_loss
        >>> h = torch.eye(2)
        >>> crd_loss(h, h, h, h, temperature=1.0, log_z=0.0)   # 2 (log(1 + 1/e) + log 2)
        tensor(2.0128)
    """
    loss = "crd_loss"
    options: dict[str, Any] = {
        "temperature": temperature,
        "num_negatives": num_negatives,
        "log_z": log_z,
        "reduction": reduction,
        "backend": backend,
        "chunk_size": chunk_size,
    }
    check_crd_options(loss, **options)
    remedy = "CRDLoss(dim_s, dim_t, num_nodes) projects both."
    s, t, chosen = matched_rows(loss, h_s, h_t, index, projecting=remedy)
    check_banks(loss, h_s, bank_s, bank_t)
    nodes = node_ids(loss, ids, bank_s.size(0), h_s, chosen)
    weight = row_weights(loss, weight, h_s, chosen)
    return contrast_with_banks(s, t, bank_s, bank_t, nodes, weight, generator=generator, **options)
