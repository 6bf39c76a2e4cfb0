"""Links from a node to those of its context, by distribution and by rank: LLP."""

from torch import Tensor

from graphkd.functional.levels.llp import Decoders, check_llp_options, llp_loss
from graphkd.losses._base import DistillationLoss


class LLPLoss(DistillationLoss):
    r"""Linkless link prediction (LLP): links of a node to the nodes of its context.

    .. math:: L = \operatorname{mean}_i (w_D D_i + w_R R_i)

    An anchor i has the score :math:`\sigma(\langle h_i, h_j\rangle)` with node j of its context.
    :math:`D_i` is the divergence of the softmaxes of its scores, and :math:`R_i` is their margin
    ranking in the teacher's order. The loss has no parameters of its own,
    and the widths may differ. :func:`graphkd.functional.llp_loss` links to both terms, and gives
    the errors and the source.

    Args:
        decoder: ``"inner"`` for the scores above, or a pair (student's, teacher's) of callables.
            They stay parts of the two models: ``loss.parameters()`` does not hold theirs.
        temperature: The temperature of D.
        margin: The difference of two scores from which R takes them as ordered.
        distribution_weight, rank_weight: :math:`w_D` and :math:`w_R`; 0 leaves a term out.
        reduction: ``"none"`` keeps a value for each selected anchor.
        backend, chunk_size: As in the function.

    Shapes:
        - **h_s, h_t:** :math:`[N, d_s]` and :math:`[N, d_t]`
        - **context:** :math:`[M, k]`, nodes to score with each anchor, from
          :func:`graphkd.functional.link_context`
        - **anchors:** :math:`[M]`; all nodes, unless given
        - **weight:** a weight for each anchor, :math:`[M]`
        - **index:** :math:`[L]`, or a mask :math:`[M]`, over the anchors
        - **output:** a scalar, or a value for each selected anchor

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
    _check_options = staticmethod(check_llp_options)

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
        weight: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's, over contexts of anchors."""
        return llp_loss(h_s, h_t, context, anchors, weight=weight, index=index, **self.options)
