"""One loss over several pairs of layers."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from graphkd._checks import describe
from graphkd.functional._options import check_reduction
from graphkd.functional.several._combine import (
    PairLoss,
    Weights,
    check_factors,
    combine,
    compared,
    located,
    loss_of_each,
    with_rows,
)
from graphkd.similarity import unit_rows

Layers: TypeAlias = Sequence[Any] | Mapping[str, Any]
Pairs: TypeAlias = str | Sequence[tuple[Any, Any]]


def layerwise_loss(
    h_s: Layers,
    h_t: Layers,
    loss: PairLoss | Sequence[PairLoss],
    *,
    pairs: Pairs = "uniform",
    weights: Weights = None,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
    **arguments: Any,
) -> Tensor:
    r"""A weighted sum of one loss over pairs of a student's and a teacher's layers.

    Replaces ``sum(w * loss(h_s[i], h_t[j]) for w, (i, j) in zip(weights, pairs))``.

    .. math:: L = \sum_{(l, m) \in P} w_{lm} \, \ell\bigl(h^{s,l}, h^{t,m}\bigr)

    with weights 1/\|P\| by default. Row values of the inner loss are summed row by row. Weights may
    differ from node to node.

    Args:
        h_s: The student's layers: a list, or a dictionary by name.
        h_t: The teacher's; they get no gradient from a loss of this package.
        loss: A function ``loss(h_s, h_t, **arguments)`` of two layers, or one for each pair.
        pairs: ``[(l, m), ...]``, by number (negative ones count from the end) or by name; or
            ``"uniform"``: each student layer and the teacher layer at the same relative depth, the
            last with the last.
        weights: One number per pair, or a tensor of them, or a tensor :math:`[N, |P|]` with a row
            per node, or per selected node if there is an ``index``. Default: the mean.
        weight: A weight for each node, not negative, before ``index``, for the inner loss. A mean
            of row values divides by the weights' sum.
        index: Boolean mask or row numbers, for the inner loss.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, of the row values that an inner loss with
            ``reduction="none"`` returns. A scalar stays as it is, and the weights of the nodes are
            averaged for it.
        arguments: Further arguments of the inner loss, such as ``edge_index``.

    Shapes:
        - **h_s:** each :math:`[N, d_l]`
        - **h_t:** each :math:`[N, d_m]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per row for ``reduction="none"``

    Raises:
        ValueError: If there is no such layer, no pair, not one weight or loss per pair, or what
            the inner losses return does not fit together; and what they raise, with the pair's
            name in front.
        TypeError: If the layers are no list or dictionary.
        IndexError: If ``index`` names a row that does not exist.

    Source: pairs of layers as in FitNet (Romero et al., 2015, arXiv 1412.6550); ``"uniform"`` as
    by Jiao et al., TinyBERT, 2020, arXiv 1909.10351, where the number of the teacher's layers is a
    multiple of the student's.

    Example:
        >>> import torch
        >>> from graphkd.functional import fitnet_loss, layerwise_loss
        >>> h_s = [torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])]
        >>> h_t = [torch.tensor([[0.0, 5.0]]), torch.ones(1, 2), torch.tensor([[0.0, 3.0]])]
        >>> layerwise_loss(h_s, h_t, fitnet_loss, pairs=[(0, 0), (1, 2)])    # 1 and 0
        tensor(0.5000)
    """
    name = "layerwise_loss"
    check_reduction(name, reduction)
    students, teachers = as_layers(name, "h_s", h_s), as_layers(name, "h_t", h_t)
    chosen = resolve_pairs(name, pairs, tuple(students), tuple(teachers))
    check_factors(name, weights, len(chosen), "pair of layers")
    losses = loss_of_each(name, loss, len(chosen), "pair of layers")
    more = with_rows(name, weight, index, students[chosen[0][0]], arguments)
    values = [
        located(name, "layers", (s, t), one, students[s], teachers[t], **more)
        for one, (s, t) in zip(losses, chosen, strict=True)
    ]
    rows = compared(students[chosen[0][0]], more)
    return combine(name, values, weights, reduction, weight, index, rows)


def as_layers(loss: str, name: str, layers: Any, what: str = "layer") -> dict[Any, Any]:
    """A list or a dictionary of layers, or ``what`` they are, as one by number or name."""
    if isinstance(layers, Mapping):
        named = dict(layers)
    elif isinstance(layers, Sequence) and not isinstance(layers, str):
        named = dict(enumerate(layers))
    else:
        raise TypeError(
            f"{loss}: {name} must be a list of {what}s, or a dictionary of them by name; got "
            f"{describe(layers)}. Pass [{name}] for a single {what}, list({name}) for a stack."
        )
    if not named:
        raise ValueError(f"{loss}: {name} must hold at least one {what}; got none.")
    return named


def check_pairs(loss: str, pairs: Any, *choices: str) -> None:
    """Raise unless ``pairs`` is one of the named choices or a sequence of pairs of layers."""
    if isinstance(pairs, str) and pairs in choices:
        return
    listed = isinstance(pairs, Sequence) and not isinstance(pairs, str) and len(pairs) > 0
    if not listed or not all(
        isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2
        for pair in pairs
    ):
        raise ValueError(
            f"{loss}: pairs must be {' or '.join(map(repr, choices))}, or a list with at least one "
            f"(student layer, teacher layer); got {pairs!r}."
        )


def resolve_pairs(
    loss: str, pairs: Any, students: Sequence[Hashable], teachers: Sequence[Hashable]
) -> list[tuple[Any, Any]]:
    """The pairs by the keys of their layers, from the keys there are."""
    check_pairs(loss, pairs, "uniform")
    if isinstance(pairs, str):
        depth, height = len(students), len(teachers)
        # The teacher layer at the student layer's share of the depth, rounded up.
        return [
            (key, teachers[-(-(number + 1) * height // depth) - 1])
            for number, key in enumerate(students)
        ]
    return [
        (_key(loss, "student", s, students), _key(loss, "teacher", t, teachers)) for s, t in pairs
    ]


def _key(loss: str, side: str, layer: Any, keys: Sequence[Hashable]) -> Any:
    numbered = tuple(keys) == tuple(range(len(keys)))
    if numbered and isinstance(layer, int) and -len(keys) <= layer < 0:
        return layer + len(keys)
    if layer not in keys or isinstance(layer, bool):
        raise ValueError(
            f"{loss}: the {side} has no layer {layer!r}; it has {', '.join(map(repr, keys))}."
        )
    return layer


def cross_attention(queries: Sequence[Tensor], keys: Sequence[Tensor]) -> Tensor:
    r"""Each node's attention of every query layer over the key layers, by cosines.

    .. math:: \alpha_i^{lm} = \mathrm{softmax}_m \; \cos\bigl(q^l_i, k^m_i\bigr)

    The cosines lie between -1 and 1, so that no weight is more than e² times another.

    Shapes:
        - **queries:** S of :math:`[N, k]`
        - **keys:** T of :math:`[N, k]`
        - **output:** :math:`[N, S, T]`
    """
    q = torch.stack([unit_rows(query) for query in queries], dim=1)
    k = torch.stack([unit_rows(key) for key in keys], dim=1)
    return (q @ k.transpose(1, 2)).softmax(dim=2)
