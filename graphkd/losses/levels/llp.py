"""Links from a node to those of its context, by distribution and by rank: LLP."""

from torch import Tensor

from graphkd.functional.levels.llp import Decoders, check_llp_options, llp_loss
from graphkd.losses._base import DistillationLoss


class LLPLoss(DistillationLoss):
    r"""Linkless link prediction (LLP): which nodes of its context a node is linked to.

    .. math::
        L = \frac1M \sum_{i} w_D\,D(y^s_i, y^t_i) + w_R\,R(y^s_i, y^t_i), \qquad
        y_{ij} = \sigma(\langle h_i, h_j\rangle)

    over anchors i, with j running over the context of i; D is the divergence of the softmaxes of
    the scores, R their margin ranking in the teacher's order. It has no parameters of its own, and
    the widths may differ. See :func:`graphkd.functional.llp_loss`.

    Args:
        decoder: How links are scored: ``"inner"`` as above, or a pair (student's, teacher's) of
            callables. They stay parts of the two models, and are no parameters of this loss.
        temperature: The temperature of D.
        margin: The margin of R, in units of the scores.
        distribution_weight: :math:`w_D`; 0 switches the term off.
        rank_weight: :math:`w_R`; 0 switches the term off.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per selected anchor).
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Links per block of the chunked backend.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **context:** :math:`[M, k]`, nodes to score with each anchor; see
          :func:`graphkd.functional.link_context`
        - **anchors:** :math:`[M]`; all nodes, unless given
        - **index:** :math:`[L]`, or a mask :math:`[M]`, over the anchors
        - **output:** scalar, or one value per selected anchor for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, or row counts, shapes or devices do not fit.
        TypeError: If embeddings are not floating-point tensors, or ids not integer ones.
        IndexError: If ``context`` or ``anchors`` names a node, or ``index`` a row, that does not
            exist.

    Source: Guo, Shiao, Zhang, Liu, Chawla, Shah and Zhao, ICML 2023, arXiv 2210.05801.

    Example:
        >>> import torch
        >>> from graphkd import LLPLoss
        >>> h_t = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
        >>> h_s = torch.tensor([[0.0, 1.0], [3.0, 0.0], [0.0, 3.0]])
        >>> context, anchors = torch.tensor([[1, 2]]), torch.tensor([0])
        >>> LLPLoss(distribution_weight=0.0)(h_s, h_t, context, anchors)
        tensor(0.5526)
    """

    decoder: Decoders
    temperature: float
    margin: float
    distribution_weight: float
    rank_weight: float
    reduction: str
    backend: str
    chunk_size: int | None
    check_options = staticmethod(check_llp_options)

    def __init__(
        self,
        *,
        decoder: Decoders = "inner",
        temperature: float = 1.0,
        margin: float = 0.1,
        distribution_weight: float = 1.0,
        rank_weight: float = 1.0,
        reduction: str = "mean",
        backend: str = "auto",
        chunk_size: int | None = None,
    ) -> None:
        # In a tuple, modules are no submodules: a teacher's must not follow train() and eval().
        decoder = tuple(decoder) if isinstance(decoder, list) else decoder
        super().__init__(
            decoder=decoder,
            temperature=temperature,
            margin=margin,
            distribution_weight=distribution_weight,
            rank_weight=rank_weight,
            reduction=reduction,
            backend=backend,
            chunk_size=chunk_size,
        )

    def forward(
        self,
        h_s: Tensor,
        h_t: Tensor,
        context: Tensor,
        anchors: Tensor | None = None,
        *,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's, over contexts of anchors."""
        return llp_loss(h_s, h_t, context, anchors, index=index, **self.options)
