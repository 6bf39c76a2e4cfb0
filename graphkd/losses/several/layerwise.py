"""One loss over several pairs of layers, chosen or weighed by attention."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from graphkd.functional._options import check_reduction
from graphkd.functional.several.layerwise import (
    Layers,
    Pairs,
    check_pairs,
    layerwise_loss,
    resolve_pairs,
)
from graphkd.losses.several._inner import (
    CrossAttention,
    OuterLoss,
    both_widths,
    fixed_weights,
    matched,
)

Dims = Sequence[int] | Mapping[str, int]


class LayerwiseLoss(OuterLoss):
    r"""One loss over chosen pairs of a student's and a teacher's layers, or over all of them.

    If the inner losses have heads, and for ``pairs="attention"``, hand ``loss.parameters()`` to the
    optimiser.

    Chosen pairs add up with fixed weights, 1/\|P\| by default. With ``pairs="attention"``, small
    MLPs q and k weigh all pairs for each node i, over S student layers:

    .. math::
        L = \frac1{N S} \sum_{i, l, m} \alpha_i^{lm} \ell_i^{lm}, \quad \alpha_i^{lm} =
            \mathrm{softmax}_m \cos\bigl(q^l(h^{s,l}_i), k^m(h^{t,m}_i)\bigr)

    The layers are lists, or dictionaries by name, as several :class:`graphkd.Tap` give them.
    Further arguments (``edge_index``, ``batch``, ...) go by name to the inner loss. A Module with
    parameters cannot be shared by several pairs. :func:`graphkd.functional.layerwise_loss` says
    what else is raised.

    The attention is that of SemCKD, Chen et al., AAAI 2021, arXiv 2012.03236. Their queries and
    keys are MLPs of the rows of the batch's N × N Gram matrices; ours are MLPs of the embeddings,
    because a linear layer of such a row is a linear layer of the embedding.

    Args:
        loss: A factory ``loss(dim_s, dim_t)``, called once for each pair, such as a loss's class;
            it is not kept. Or one Module for all pairs, which then has no parameters.
        dims_s: The widths of the student's layers, as a list or by name. Factories and the
            attention need them.
        dims_t: The widths of the teacher's layers.
        pairs: A list of (student layer, teacher layer), ``"uniform"``, or ``"attention"`` for all
            pairs.
        weights: One number per chosen pair. Default: their mean.
        attention_dim: The width of queries and keys.
        reduction: Of the row values of inner losses that are built with ``reduction="none"``; the
            attention weighs them node by node. A scalar inner loss gets the attention's mean over
            the nodes.

    Shapes:
        - **h_s, h_t:** a list or dictionary of :math:`[N, d_l]` each
        - **weight:** a weight for each node, :math:`[N]`, if the inner loss takes it
        - **index:** :math:`[M]`, or a mask :math:`[N]`, if the inner loss takes it
        - **output:** a scalar, or a value for each row

    Example:
        >>> import torch
        >>> from graphkd import FitNetLoss, LayerwiseLoss
        >>> loss = LayerwiseLoss(
        ...     lambda dim_s, dim_t: FitNetLoss(dim_s, dim_t, head="identity"),
        ...     dims_s=[2, 2], dims_t=[2, 3, 2], pairs=[(0, 0), (1, 2)],
        ... )
        >>> one, other = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> loss([one, other], [3 * other, torch.ones(1, 3), 2 * other])    # 1 and 0
        tensor(0.5000)
    """

    def __init__(
        self,
        loss: Callable[[Any, Any], nn.Module] | nn.Module,
        dims_s: Dims | None = None,
        dims_t: Dims | None = None,
        *,
        pairs: Pairs = "uniform",
        weights: Sequence[float] | None = None,
        attention_dim: int = 32,
        reduction: str = "mean",
    ) -> None:
        name = type(self).__name__
        check_reduction(name, reduction)
        check_pairs(name, pairs, "uniform", "attention")
        learned = isinstance(pairs, str) and pairs == "attention"
        widths = both_widths(name, dims_s, dims_t, needed_for="pairs='attention'" * learned)
        chosen, built_for = None, None
        if widths is not None:
            everything = [(s, t) for s in widths[0] for t in widths[1]]
            keys = tuple(widths[0]), tuple(widths[1])
            chosen = resolve_pairs(name, everything if learned else pairs, *keys)
            built_for = [(widths[0][s], widths[1][t]) for s, t in chosen]
        kept = pairs if isinstance(pairs, str) else tuple((s, t) for s, t in pairs)
        known = kept if chosen is None else chosen
        count = None if isinstance(known, str) else len(known)
        fixed = fixed_weights(name, weights, count, "pair of layers")
        if learned and fixed is not None:
            raise ValueError(
                f"{name}: weights belong to chosen pairs, and pairs='attention' learns its own; "
                f"got {fixed}. Leave them out."
            )
        super().__init__(loss, built_for, count, pairs=kept, weights=fixed, reduction=reduction)
        self.chosen = known
        self.layers_s = None if widths is None else tuple(widths[0])
        self.layers_t = None if widths is None else tuple(widths[1])
        self.attention = None
        if learned and widths is not None:
            dims = list(widths[0].values()), list(widths[1].values())
            self.attention = CrossAttention(name, *dims, attention_dim)

    def names_of_arguments(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names that a call takes and needs, which depend on the inner loss."""
        return ("h_s", "h_t", *self.takes), ("h_s", "h_t", *self.needs)

    def forward(
        self,
        h_s: Layers,
        h_t: Layers,
        *,
        weight: Tensor | None = None,
        index: Tensor | None = None,
        **arguments: Any,
    ) -> Tensor:
        """The loss of a student's layers against a teacher's."""
        name = type(self).__name__
        self.check_arguments(arguments, weight=weight, index=index)
        students = matched(name, "h_s", h_s, self.layers_s)
        teachers = matched(name, "h_t", h_t, self.layers_t)
        options = {**self.options, "pairs": self.chosen, "weight": weight}
        if self.attention is not None:
            index, alpha = self.attention([*students.values()], [*teachers.values()], index)
            options["weights"] = alpha.flatten(1) / len(students)
        return layerwise_loss(students, teachers, self.inner, index=index, **options, **arguments)
