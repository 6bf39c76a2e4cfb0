"""Soft assignments of the nodes to the codes of a codebook: VQGraph."""

from typing import Any

from torch import Tensor

from graphkd._checks import check_choice, check_devices, check_matrix, check_positive
from graphkd._precision import full_precision, student_and_teacher
from graphkd.functional._options import check_blocked_options
from graphkd.functional._rows import matched_rows, reduce_rows, row_weights
from graphkd.ops.primitives import code_divergence
from graphkd.ops.reference.code_divergence import SIMILARITIES


def check_vqgraph_options(
    loss: str,
    *,
    temperature: float,
    similarity: str,
    reduction: str,
    backend: str,
    chunk_size: int | None,
) -> None:
    """Raise on an option that is out of range."""
    check_positive(f"{loss}: temperature", temperature)
    check_choice(f"{loss}: similarity", similarity, SIMILARITIES)
    check_blocked_options(loss, reduction=reduction, backend=backend, chunk_size=chunk_size)


def vqgraph_loss(
    h_s: Tensor,
    h_t: Tensor,
    codebook: Tensor,
    *,
    temperature: float = 4.0,
    similarity: str = "l2",
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Divergence of the student's soft code assignments from the teacher's.

    Replaces ``T**2 * F.kl_div((-cdist(h_s, c) / T).log_softmax(1), (-cdist(h_t, c) /
    T).softmax(1), reduction="batchmean")`` without its N × K matrices and its loss of digits.

    .. math::
        p_{ik} = \frac{\exp(s(h_i, c_k)/T)}{\sum_l \exp(s(h_i, c_l)/T)}, \qquad
        L = \frac{T^2}{N} \sum_i \mathrm{KL}(p^t_i \,\Vert\, p^s_i)

    with the codes :math:`c_k` and the similarity :math:`s(h, c) = -\lVert h - c\rVert`, or their
    cosine. All rows have the same width; :class:`graphkd.VQGraphLoss` projects the student.

    Args:
        h_s: Student rows.
        h_t: Teacher rows, for which the codebook was made; they get no gradient.
        codebook: The codes, as rows; they get no gradient.
        temperature: T.
        similarity: ``"l2"`` or ``"cosine"``.
        weight: A weight for each row, not negative, before ``index``. The mean divides by the
            weights' sum. It gets a gradient if it requires one.
        index: Boolean mask or row numbers of the rows that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's divergence times T²).
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Rows per block of the chunked backend; changes memory, not the value.

    Shapes:
        - **h_s:** :math:`[N, d]`
        - **h_t:** :math:`[N, d]`
        - **codebook:** :math:`[K, d]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts, widths or devices differ, an input is not two-dimensional, there
            is no code, ``weight`` is negative, or an option is out of range.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: Yang, Tian, Xu et al., ICLR 2024, arXiv 2308.02117. The authors' code compares the
    teacher with the codes by cosines and the student by distances; here both sides use the same
    similarity. It also passes the teacher's probabilities where the divergence takes logarithms
    (``log_target=True``). The result is no divergence, and not 0 for a perfect student.

    Example:
        >>> import torch
        >>> from graphkd.functional import vqgraph_loss
        >>> codebook = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
        >>> h_s, h_t = torch.tensor([[2.0, 0.0]]), torch.tensor([[4.0, 0.0]])
        >>> vqgraph_loss(h_s, h_t, codebook)    # halfway, against σ(4/4) = 0.73
        tensor(1.7751)
    """
    loss = "vqgraph_loss"
    check_vqgraph_options(
        loss,
        temperature=temperature,
        similarity=similarity,
        reduction=reduction,
        backend=backend,
        chunk_size=chunk_size,
    )
    remedy = "VQGraphLoss(dim_s, dim_t) projects the student."
    s, t, chosen = matched_rows(loss, h_s, h_t, index, projecting=remedy)
    weight = row_weights(loss, weight, h_s, chosen)
    check_codebook(loss, codebook, h_t)
    codes = student_and_teacher(s, codebook)[1].to(s.dtype)
    with full_precision(s.device):
        args = s, t, codes, similarity, temperature
        divergence = code_divergence(loss, *args, backend, chunk_size)
        return reduce_rows(temperature**2 * divergence, reduction, weight)


def check_codebook(loss: str, codebook: Any, h_t: Tensor) -> None:
    """Raise unless the codebook is a matrix of codes as wide as the teacher's rows."""
    check_matrix(loss, "codebook", codebook, "codes")
    check_devices(loss, h_t=h_t, codebook=codebook)
    if codebook.size(0) == 0 or codebook.size(1) != h_t.size(1):
        raise ValueError(
            f"{loss}: codebook must hold at least one code, of the teacher's width "
            f"{h_t.size(1)}; got shape {tuple(codebook.shape)}. Make it from the embeddings that "
            "are passed as h_t."
        )
