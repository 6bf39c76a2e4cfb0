"""Correlations of predictions, within rows and within classes: DIST."""

import torch
from torch import Tensor

from graphkd._checks import check_positive
from graphkd._precision import exact, full_precision, has_rows
from graphkd.functional._options import check_reduction, check_weights
from graphkd.functional._rows import matched_logits, reduce_rows, row_weights
from graphkd.similarity import unit_rows

# Added to the product of two lengths. It matters: a rarely predicted class has short ones.
_EPSILON = 1e-8


def check_dist_options(
    loss: str, *, beta: float, gamma: float, temperature: float, reduction: str
) -> None:
    """Raise on an option that is out of range."""
    check_weights(loss, beta=beta, gamma=gamma)
    check_positive(f"{loss}: temperature", temperature)
    check_reduction(loss, reduction)


def dist_loss(
    z_s: Tensor,
    z_t: Tensor,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""One minus the correlation of predictions, within each row and within each class.

    Replaces ``T**2 * (beta * (1 - corr(p, q)).mean() + gamma * (1 - corr(p.T, q.T)).mean())`` with
    ``corr`` the Pearson correlation of rows.

    .. math::
        L = T^2 \left[\frac{\beta}{N} \sum_i \left(1 - \rho(p_{i:}, q_{i:})\right)
            + \frac{\gamma}{C} \sum_c \left(1 - \rho(p_{:c}, q_{:c})\right)\right]

    with the student's softmax p and the teacher's q at temperature T, and for centred x and y

    .. math::
        \rho(x, y) = \frac{\langle x, y\rangle}{\ell + \varepsilon}, \qquad
        1 - \rho(x, y) = \frac{\ell\, \frac12 \lVert \hat x - \hat y \rVert^2 + \varepsilon}
                             {\ell + \varepsilon}, \qquad
        \ell = \lVert x\rVert \lVert y\rVert, \; \varepsilon = 10^{-8}.

    The last form, in unit vectors and float64, loses no digits near 0, and splits the second sum
    among the rows. A row or column of equal probabilities has no direction: its correlation with
    anything, itself included, is 0, and it gets no gradient. With a single row, all columns are
    such, which adds :math:`\gamma T^2`. A perfect student's loss is :math:`\varepsilon / \ell`.

    Args:
        z_s: Student logits.
        z_t: Teacher logits; they get no gradient.
        beta: Weight of the rows ("inter-class" in the paper).
        gamma: Weight of the columns ("intra-class").
        temperature: T, without a unit.
        weight: A weight for each row's value, not negative, before ``index``. The mean divides by
            the weights' sum; the columns take all rows alike. It gets a gradient if it requires
            one.
        index: Boolean mask or row numbers of the rows that take part. The columns run over these.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``. One value per row, whose mean is the loss:
            its own distance, and N / C times its part of the columns' distances.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If shapes or devices differ, there is a single class, ``weight`` is negative,
            or an option is out of range.
        TypeError: If logits are not floating-point tensors.
        IndexError: If ``index`` names a row that does not exist.

    Source: Huang et al., NeurIPS 2022, arXiv 2205.10536. The value equals that of the authors'
    code for classification, :math:`\varepsilon` included. Their code for segmentation has no
    temperature.

    Example:
        >>> import torch
        >>> from graphkd.functional import dist_loss
        >>> z_s = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
        >>> z_t = torch.tensor([[4.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
        >>> dist_loss(z_s, z_t)
        tensor(1.4197)
    """
    loss = "dist_loss"
    check_dist_options(loss, beta=beta, gamma=gamma, temperature=temperature, reduction=reduction)
    s, t, chosen = matched_logits(loss, z_s, z_t, index)
    if z_s.size(1) < 2:
        raise ValueError(
            f"{loss}: it needs at least two classes; got logits of shape {tuple(z_s.shape)}. Use "
            "KDLoss(task='multilabel') for a single binary output."
        )
    weight = row_weights(loss, weight, z_s, chosen)
    if not has_rows(s):
        return reduce_rows(s.sum(dim=1), reduction, weight)
    n, classes = s.shape
    with full_precision(s.device):
        log_p, log_q = ((exact(z) / temperature).log_softmax(dim=1) for z in (s, t))
        within_rows = _uncorrelated(log_p, log_q).sum(dim=1)
        within_classes = _uncorrelated(log_p.t(), log_q.t()).sum(dim=0) * (n / classes)
        values = temperature**2 * (beta * within_rows + gamma * within_classes)
        return reduce_rows(values.to(s.dtype), reduction, weight)


def _uncorrelated(log_x: Tensor, log_y: Tensor) -> Tensor:
    """1 - correlation of the rows of exp(log_x) and exp(log_y), split among the columns."""
    gap = (_directions(log_x) - _directions(log_y)).square() / 2
    lengths = _lengths(log_x) * _lengths(log_y)
    return (lengths * gap + _EPSILON / gap.size(1)) / (lengths + _EPSILON)


def _lengths(log_x: Tensor) -> Tensor:
    """The lengths of the rows of exp(log_x) less their mean."""
    x = log_x.exp()
    square = (x - x.mean(dim=1, keepdim=True)).square().sum(dim=1, keepdim=True)
    zero = square == 0
    return square.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def _directions(log_x: Tensor) -> Tensor:
    """The rows of exp(log_x) less their mean, of unit length; zero where all entries are equal."""
    # A factor and a shift of the row do not change its direction. This choice of both gives exact
    # zeros where entries are equal, and keeps the digits where they are nearly equal or all tiny.
    top = log_x.detach().amax(dim=1, keepdim=True)
    # A class that is masked by −∞ in all rows is a column of zeros.
    x = (log_x - top.masked_fill(top == -torch.inf, 0)).expm1()
    return unit_rows(x - x.mean(dim=1, keepdim=True))
