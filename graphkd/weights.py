r"""Weights for ``weight=`` and ``edge_weight=``: how much a row or an edge is to count.

Each function gives one number per row, :math:`[N]`, or per edge, :math:`[E]`: finite, not negative,
detached, in float32 (float64 for float64 inputs), on the device of its inputs. A NaN of the inputs
shows in the weights that depend on it. A mean by weights does not change if all of them are
multiplied by a number, so that only their ratios matter for ``reduction="mean"``.

Weights add and multiply. ``1 - entropy(z_t)`` is high where the teacher is sure. With
``0.8 + 0.4 * influence(x, edge_index)``, no node counts less than two thirds of another.
"""

import math
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from graphkd._checks import (
    check_count,
    check_entries,
    check_matrix,
    check_positive,
    check_row_ids,
    describe,
)
from graphkd._graph_formats import source_target
from graphkd._precision import exact, full_precision, traced, upcast
from graphkd.functional._rows import matched_logits, row_weights
from graphkd.graph import Graph, resolve_edges
from graphkd.ops._blocks import height, row_products, slices
from graphkd.ops.chunked.neighbours import neighbour_sums
from graphkd.ops.divergence import softmax_kl
from graphkd.similarity import unit_rows

__all__ = [
    "agreement",
    "boosting",
    "boosting_vote",
    "confidence",
    "degree",
    "entropy",
    "hardness",
    "influence",
]

# What the code of AdaGMLP adds to an error and takes for the least vote, and what the code of HGMD
# puts for an entropy of zero.
_LEAST, _LEAST_ENTROPY = 1e-16, 1e-8


def confidence(z: Tensor, *, temperature: float = 1.0) -> Tensor:
    r"""The largest probability of each row's softmax.

    .. math:: w_i = \max_c \sigma(z_i / T)_c

    Args:
        z: Logits, of the teacher as a rule. A class whose logit is −∞ has probability 0; a row of
            −∞ alone counts as a row of equal logits.
        temperature: T.

    Shapes:
        - **z:** :math:`[N, C]`
        - **output:** :math:`[N]`, from 1/C to 1

    Raises:
        ValueError: If ``z`` is not two-dimensional, or ``temperature`` is out of range.
        TypeError: If ``z`` is not a floating-point tensor.

    Source: folklore; the maximum softmax probability of Hendrycks and Gimpel, ICLR 2017,
    arXiv 1610.02136.

    Example:
        >>> import torch
        >>> from graphkd import weights
        >>> weights.confidence(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
        tensor([0.8808, 0.5000])
    """
    with full_precision(z.device):
        return _like(_checked_probabilities("confidence", z, temperature).amax(dim=1), z)


def entropy(z: Tensor, *, temperature: float = 1.0, normalize: bool = True) -> Tensor:
    r"""The entropy of each row's softmax, by default as a part of the largest that there can be.

    .. math:: w_i = \frac{-1}{\log C} \sum_c p_{ic} \log p_{ic}, \qquad p_i = \sigma(z_i / T)

    ``1 - entropy(z)`` is 1 for a sure teacher and 0 for one that does not know. A single class has
    entropy 0.

    Args:
        z: Logits, as in :func:`confidence`.
        temperature: T.
        normalize: Whether to divide by log C, the entropy of a row of equal logits.

    Shapes:
        - **z:** :math:`[N, C]`
        - **output:** :math:`[N]`, from 0 to 1, or to log C if not normalised

    Raises:
        ValueError: If ``z`` is not two-dimensional, or ``temperature`` is out of range.
        TypeError: If ``z`` is not a floating-point tensor.

    Source: folklore. KRD (arXiv 2306.05628) and HGMD (arXiv 2407.14768) rest on it.

    Example:
        >>> import torch
        >>> from graphkd import weights
        >>> weights.entropy(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
        tensor([0.5271, 1.0000])
    """
    with full_precision(z.device):
        p = _checked_probabilities("entropy", z, temperature)
        most = math.log(p.size(1)) or 1.0
        share = torch.special.entr(p).sum(dim=1) / most
        # The rounding must not make 1 - w negative.
        share = share.clamp(max=1)
        return _like(share if normalize else share * most, z)


def agreement(
    z: Tensor, y: Tensor, *, mask: Tensor | None = None, unlabelled: float = 1.0
) -> Tensor:
    r"""1 where the prediction is the known label, 0 where it is another one.

    .. math:: w_i = [\arg\max_c z_{ic} = y_i]

    A teacher that is wrong at a labelled node is not followed there; the label itself teaches.

    Args:
        z: Logits, of the teacher as a rule.
        y: Labels. A negative one is unknown.
        mask: Boolean, true where a label may be used, such as ``data.train_mask``. Without it the
            labels of test nodes would enter, if ``y`` holds them.
        unlabelled: The weight of rows whose label is unknown or not in ``mask``.

    Shapes:
        - **z:** :math:`[N, C]`
        - **y:** :math:`[N]`
        - **mask:** :math:`[N]`
        - **output:** :math:`[N]`

    Raises:
        ValueError: If shapes or devices differ, or ``unlabelled`` is negative or not finite.
        TypeError: If ``z`` is not a floating-point tensor, ``y`` not an integer tensor, or ``mask``
            not boolean.
        IndexError: If a label is not a class of ``z`` (checked on a CPU).

    Source: Meng, Li, Zhao and Gong, "Conditional Teacher-Student Learning", ICASSP 2019,
    arXiv 1904.12399, from its abstract: the student follows the teacher where the teacher is right,
    and the label elsewhere.

    Example:
        >>> import torch
        >>> from graphkd import weights
        >>> z_t = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
        >>> weights.agreement(z_t, torch.tensor([0, 1, -1]), unlabelled=0.5)
        tensor([1.0000, 0.0000, 0.5000])
    """
    name = "agreement"
    check_matrix(name, "z", z, "logits")
    check_row_ids(name, "y", y, z, "labels", "Pass data.y, with -1 where a label is unknown.")
    _check_number(f"{name}: unlabelled", unlabelled, least=0)
    z = z.detach()
    known = y >= 0
    if mask is not None:
        good = isinstance(mask, Tensor) and mask.dtype == torch.bool
        remedy = "Pass data.train_mask, of several splits one column; or call .bool()."
        check_entries(name, "mask", mask, z, good, "a boolean tensor", lambda: remedy)
        known = known & mask
    if not traced() and z.device.type == "cpu" and bool((known & (y >= z.size(1))).any()):
        raise IndexError(
            f"{name}: y must name classes of z, below {z.size(1)}; got {int(y[known].max())}. Use "
            "-1 where a label is unknown."
        )
    same = upcast((z.argmax(dim=1) == y).to(z.dtype))
    same = same.masked_fill(z.isnan().any(dim=1), torch.nan)
    return same.masked_fill(~known, unlabelled)


def boosting(
    z_s: Tensor, z_t: Tensor, weight: Tensor | None = None, *, beta: float = 1.0
) -> Tensor:
    r"""Weights of the nodes for the next student: higher where this one is far from the teacher.

    .. math::
        e_i = 1 - \exp(-\beta\,\mathrm{KL}(\sigma(z^t_i) \Vert \sigma(z^s_i))), \qquad
        \varepsilon = \frac{\sum_i w_i e_i}{\sum_i w_i}, \qquad
        \alpha = \max\left(\log\frac{1 - \varepsilon}{\varepsilon}, 0\right), \qquad
        w_i \leftarrow c\,w_i \exp(\alpha e_i)

    with the c that makes their mean 1. AdaBoost takes wrong or right for :math:`e_i`; here it is a
    number from 0 to 1. A student that is off by half or more (:math:`\varepsilon \ge 1/2`) changes
    nothing.

    Args:
        z_s: The logits of the student that was trained.
        z_t: The teacher's logits.
        weight: w, the weights that this student was trained with; None stands for ones.
        beta: How soon a divergence counts as an error.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **weight:** :math:`[N]`
        - **output:** :math:`[N]`, with mean 1

    Raises:
        ValueError: If shapes or devices differ, a weight is negative or not finite, or ``beta`` is
            not positive.
        TypeError: If an input is not a floating-point tensor.

    Source: AdaGMLP, Lu et al., KDD 2024, arXiv 2405.14307, as in the authors' code, whose weights
    sum to 1. There is no log(C − 1) of SAMME in it. The code updates the weights within each step,
    from one student to the next, and hands them on to the next step.

    Example:
        >>> import torch
        >>> from graphkd import weights
        >>> z_t = torch.tensor([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
        >>> z_s = torch.tensor([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0]])    # one node is missed
        >>> weights.boosting(z_s, z_t)
        tensor([0.7438, 0.7438, 1.5124])
    """
    errors, given, alpha, like = _errors("boosting", z_s, z_t, weight, beta)
    # Without the 1, the power may overflow; what divides by the mean may be scaled.
    raised = given * (alpha * (errors - 1)).exp()
    mean = raised.sum() / max(raised.size(0), 1)
    return _like(raised / _one_for_zero(mean), like)


def boosting_vote(
    z_s: Tensor, z_t: Tensor, weight: Tensor | None = None, *, beta: float = 1.0
) -> Tensor:
    r"""How much a student counts among several: :math:`\alpha` of :func:`boosting`.

    The students predict together by :math:`\sum_k \alpha_k\,\sigma(z_k) / \sum_k \alpha_k`.

    Args:
        z_s: The logits of the student.
        z_t: The teacher's logits.
        weight: The weights that this student was trained with; None stands for ones.
        beta: How soon a divergence counts as an error.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **weight:** :math:`[N]`
        - **output:** scalar, from 1e-16 to 36.85

    Raises:
        ValueError: As :func:`boosting`.
        TypeError: As :func:`boosting`.

    Source: AdaGMLP, as :func:`boosting`, with the bounds of the authors' code: an error is at least
    1e-16, and so is a vote, so that a team of bad students still votes.

    Example:
        >>> import torch
        >>> from graphkd import weights
        >>> z_t = torch.tensor([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
        >>> z_s = torch.tensor([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
        >>> weights.boosting_vote(z_s, z_t)
        tensor(0.7250)
    """
    *_, alpha, like = _errors("boosting_vote", z_s, z_t, weight, beta)
    return _like(alpha, like)


def hardness(z_s: Tensor, z_t: Tensor, edge_index: Any, *, alpha: float = 5.0) -> Tensor:
    r"""How much a hard node needs the teacher's prediction at a neighbour, for each edge j → i.

    .. math::
        w_{ji} = 1 - \exp\left(-\alpha \cos(p^t_j, p^t_i)
            \frac{\sqrt{h^t_i\,h^s_i}}{h^t_j}\right), \qquad
        h_i = \frac{H(p_i)}{\max_k H(p_k)}

    with the predictions :math:`p = \sigma(z)` and their entropy H. It is high if the centre is hard
    for both models, and if the neighbour is like it and easy for the teacher. HGMD draws each edge
    with this probability.

    Args:
        z_s: The student's logits.
        z_t: The teacher's logits.
        edge_index: Edges j → i in any format that :class:`graphkd.Graph` takes, or a Graph.
        alpha: If it is larger, more edges count. HGMD divides it by 100 over the training:
            ``5.0 / 100 ** (epoch / epochs)``.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **edge_index:** :math:`[2, E]`
        - **output:** :math:`[E]`, from 0 to 1, in the order of ``edge_index`` (of a Graph, in the
          order of its ``edge_index``; of a sparse tensor, of its entries)

    Raises:
        ValueError: If shapes or devices differ, or ``alpha`` is not positive.
        TypeError: If logits are not floating-point tensors or the graph has no known format.
        IndexError: If an edge names a node that does not exist.

    Source: HGMD, Wu et al., "Teach Harder, Learn Poorer", arXiv 2407.14768, as in the authors'
    code, which counts an entropy of 0 as 1e-8; here 1e-8 is the least.

    Example:
        >>> import torch
        >>> from graphkd import weights
        >>> z = torch.tensor([[2.0, 0.0], [0.0, 0.0]])          # node 0 is easy, node 1 is hard
        >>> weights.hardness(z, z, torch.tensor([[0, 1], [1, 0]]), alpha=1.0)
        tensor([0.7790, 0.3425])
    """
    name = "hardness"
    check_positive(f"{name}: alpha", alpha)
    s, t, _ = matched_logits(name, z_s, z_t)
    resolve_edges(name, edge_index, t.size(0), t.size(0), t.device)  # checks the ids
    src, dst = _ends(edge_index, t.size(0))
    with full_precision(t.device):
        p_s, p_t = _probabilities(s), _probabilities(t)
        h_s, h_t = (torch.special.entr(p).sum(dim=1) for p in (p_s, p_t))
        h_s, h_t = ((h / _one_for_zero(_largest(h))).clamp(min=_LEAST_ENTROPY) for h in (h_s, h_t))
        unit, need = unit_rows(p_t), (h_t * h_s).sqrt()
        cosines = [
            row_products(unit[src[block]], unit[dst[block]])
            for block in slices(src.size(0), height(unit, 2**12))
        ]
        exponents = torch.cat([unit.new_empty(0), *cosines]) * need[dst] / h_t[src]
        return _like(-(-alpha * exponents).expm1(), t)


def influence(x: Tensor, edge_index: Any, *, hops: int = 2, least: float | None = None) -> Tensor:
    r"""How much a node's features are alike to what reaches the nodes of the graph.

    .. math::
        u_i = \frac1N \sum_j \cos\left(x_i, (\tilde A^k X)_j\right), \qquad
        w_i = \frac{u_i - m}{\max_j u_j - m}, \qquad
        \tilde A = \tilde D^{-1/2} (A + I) \tilde D^{-1/2}

    The mean over all nodes is the inner product with the mean unit row, so that this takes
    :math:`O((E + N) d)`, without a matrix of all pairs.

    Args:
        x: The features.
        edge_index: Edges j → i in any format that :class:`graphkd.Graph` takes, or a Graph. A self
            loop counts beside I.
        hops: k, how many times the features are propagated.
        least: m, the similarity that counts as no influence; default: the smaller of 0 and the
            least :math:`u_i`. A node below it has weight 0; if none is above it, all have 1.

    Shapes:
        - **x:** :math:`[N, d]`
        - **edge_index:** :math:`[2, E]`
        - **output:** :math:`[N]`, from 0 to 1

    Raises:
        ValueError: If shapes or devices differ, or ``hops`` is negative.
        TypeError: If ``x`` is not a floating-point tensor or the graph has no known format.
        IndexError: If an edge names a node that does not exist.

    Source: InfGraND, Eskandari et al., TMLR 2026. The authors' code scales the matrix of all pairs
    of cosines to [0, 1] first: m is its least entry. That is 0, and w the same, for bags of words,
    of which two have nothing in common. In all cases both are linear functions of
    :math:`u_i` that are 1 at the most influential node; pass ``least=`` to have the code's.

    Example:
        >>> import torch
        >>> from graphkd import weights
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> weights.influence(x, torch.tensor([[0, 1], [1, 0]]))
        tensor([1.0000, 1.0000, 0.5000])
    """
    name = "influence"
    check_matrix(name, "x", x, "features")
    check_count(f"{name}: hops", hops, least=0)
    if least is not None:
        _check_number(f"{name}: least", least)
    edges = resolve_edges(name, edge_index, x.size(0), x.size(0), x.device)
    with full_precision(x.device):
        own = exact(x.detach())
        scale = (exact(edges.ptr.diff().float()) + 1).rsqrt()
        reached = own
        for _ in range(hops):
            near = neighbour_sums(reached, scale.index_select(0, edges.src), edges)
            reached = (near + reached * scale[:, None]) * scale[:, None]
        mean = unit_rows(reached).sum(dim=0) / max(x.size(0), 1)
        u = unit_rows(own) @ mean
        low = -_largest(-u) if least is None else least
        above = (u - low).clamp(min=0)
        most = _largest(above)
        return _like(torch.where(most == 0, 1.0, above / most), x)


def degree(edge_index: Any, num_nodes: int, *, power: float = 1.0) -> Tensor:
    r"""A power of the number of edges into each node.

    .. math:: w_i = d_i^a

    With a negative power, nodes of few neighbours count more; a node without any counts as one
    of degree 1.

    Args:
        edge_index: Edges j → i in any format that :class:`graphkd.Graph` takes, or a Graph.
            Duplicate edges and self loops count.
        num_nodes: The number of nodes.
        power: a.

    Shapes:
        - **edge_index:** :math:`[2, E]`
        - **output:** :math:`[N]`, in float32

    Raises:
        ValueError: If the graph has another number of nodes, or ``power`` is not finite.
        TypeError: If the graph has no known format.
        IndexError: If an edge names a node that does not exist.

    Source: folklore.

    Example:
        >>> import torch
        >>> from graphkd import weights
        >>> weights.degree(torch.tensor([[0, 1, 2, 0], [3, 3, 3, 1]]), 4, power=0.5)
        tensor([0.0000, 1.0000, 0.0000, 1.7321])
    """
    name = "degree"
    check_count(f"{name}: num_nodes", num_nodes, least=0)
    _check_number(f"{name}: power", power)
    device = _ends(edge_index, num_nodes)[0].device
    edges = resolve_edges(name, edge_index, num_nodes, num_nodes, device)
    count = exact(edges.ptr.diff().float())
    count = count.clamp(min=1) if power < 0 else count
    return count.pow(power).clamp(max=torch.finfo(torch.float32).max).float()


def _errors(
    name: str, z_s: Tensor, z_t: Tensor, weight: Tensor | None, beta: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The errors of AdaGMLP, the weights so far (at most 1), α, and a tensor of their dtype."""
    check_positive(f"{name}: beta", beta)
    s, t, _ = matched_logits(name, z_s, z_t)
    so_far = row_weights(name, weight, t, None)
    with torch.no_grad(), full_precision(t.device):
        given = exact(torch.ones_like(t[:, 0]) if so_far is None else so_far)
        given = given / _one_for_zero(_largest(given))
        errors = -torch.expm1(-beta * softmax_kl(_finite(t), _finite(s)))
        error = (given * errors).sum() / _one_for_zero(given.sum())
        error = error.clamp(min=_LEAST, max=1)
        return errors, given, ((1 - error) / error).log().clamp(min=_LEAST), t


def _ends(edge_index: Any, num_nodes: int) -> tuple[Tensor, Tensor]:
    """Sources and targets in the order of the user's edges."""
    if isinstance(edge_index, Graph):
        return edge_index.edges.src, edge_index.edges.dst
    src, dst = source_target(edge_index, num_nodes, num_nodes)
    return src.long(), dst.long()


def _finite(z: Tensor) -> Tensor:
    """The logits without a gradient, in float64; a row of −∞ alone is a row of equal logits."""
    z = exact(z.detach())
    return z.masked_fill((z == -torch.inf).all(dim=1, keepdim=True), 0)


def _checked_probabilities(name: str, z: Tensor, temperature: float) -> Tensor:
    """Each row's softmax of what the user gave."""
    check_matrix(name, "z", z, "logits")
    check_positive(f"{name}: temperature", temperature)
    return _probabilities(z, temperature)


def _probabilities(z: Tensor, temperature: float = 1.0) -> Tensor:
    """Each row's softmax."""
    z = _finite(z)
    return ((z - z.amax(dim=1, keepdim=True)) / temperature).softmax(dim=1)


def _like(weight: Tensor, like: Tensor) -> Tensor:
    """The weights in the dtype that the losses compute in."""
    return weight.to(upcast(like[:0]).dtype)


def _largest(x: Tensor) -> Tensor:
    """The largest of the numbers and 0."""
    return torch.cat([x, x.new_zeros(1)]).amax()


def _one_for_zero(x: Tensor) -> Tensor:
    return x.masked_fill(x == 0, 1)


def _check_number(what: str, value: Any, least: float = -math.inf) -> None:
    """Raise unless ``value`` is a finite number, and not below ``least``."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{what} must be a number; got {describe(value)}. Pass a plain float.")
    if not math.isfinite(value) or value < least:
        kind = "finite" if least == -math.inf else f"finite and at least {least:g}"
        raise ValueError(f"{what} must be {kind}; got {value!r}.")
