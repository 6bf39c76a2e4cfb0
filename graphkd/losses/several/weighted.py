"""A weighted sum of losses, optionally balanced. Each loss gets the arguments that it names."""

import difflib
import math
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from graphkd._checks import describe, tensors_in
from graphkd.distributed import OwnBuffers
from graphkd.functional.several._combine import located
from graphkd.losses._base import arguments_of

# The names that a call may use even if no loss of this sum takes them.
VOCABULARY = {
    "h_s", "h_t", "z_s", "z_t", "y", "edge_index", "batch", "index", "mask", "generator", "ids",
    "labels", "positives", "extra_keys", "reliability", "codebook", "context", "anchors",
    "clusters", "paths",
}  # fmt: skip
_LEAST, _MOST = 1e-4, 1e4


class WeightedSum(nn.Module):
    r"""A weighted sum of distillation losses, called once with the arguments of all of them.

    If one of the losses has heads, hand ``objective.parameters()`` to the optimiser.

    .. math:: \text{total} = \sum_k w_k \, c_k \, L_k

    Each loss takes the arguments that its ``forward`` names. Without ``balance``, every
    :math:`c_k` is 1. With ``balance``,

    .. math::
        c_k = \mathrm{clamp}\left(
            \frac{\mathrm{EMA}\,\lVert \partial L_{task} / \partial h_s \rVert}
                 {\mathrm{EMA}\,\lVert \partial L_k / \partial h_s \rVert},
            10^{-4}, 10^{4}\right)

    so that a weight of 1 pulls on the student's embeddings as hard as the task does, for any loss,
    N, d, E and C. Balancing needs ``task_loss=``, which is not added to the total, and an ``h_s``
    from which the task loss and every term were computed. If ``h_s`` is several tensors (layers, or
    the pairs of TINED), those with a gradient count. Balancing costs one backward pass from each
    term to ``h_s``. The averages are buffers. They move in training mode with gradients enabled;
    gradients that are not finite leave them unchanged.

    Args:
        balance: Whether to balance.
        decay: The averages' weight on the past, from 0 (no memory) to below 1.
        losses: ``name=(weight, loss)`` for each term.

    Returns:
        ``(total, parts)``: the scalar to add to the task loss, and each :math:`L_k` before its
        weight, detached, by name.

    Raises:
        TypeError: If a term is not a pair of a number and a Module, or in a call if a loss lacks an
            argument, an argument is unknown, or balancing lacks ``task_loss``.
        ValueError: If there is no term, a weight is not finite, ``decay`` is out of range, a loss
            does not return a scalar, or balancing meets a term that does not depend on ``h_s``.
            Errors of the losses name the term.

    Example:
        >>> import torch
        >>> from graphkd import FitNetLoss, KDLoss, WeightedSum
        >>> objective = WeightedSum(kd=(0.9, KDLoss(1.0)), fit=(2.0, FitNetLoss(2, 2)))
        >>> z_s, z_t, h = torch.zeros(1, 2), torch.tensor([[4.0, 0.0]]), torch.zeros(1, 2)
        >>> total, parts = objective(z_s=z_s, z_t=z_t, h_s=h, h_t=h)
        >>> parts["kd"]
        tensor(0.6031)
    """

    _ddp_params_and_buffers_to_ignore = OwnBuffers()

    task_norm: Tensor
    term_norms: Tensor

    def __init__(
        self, *, balance: bool = False, decay: float = 0.9, **losses: tuple[float, nn.Module]
    ) -> None:
        super().__init__()
        if not losses:
            raise ValueError(
                "WeightedSum needs at least one term; got none. Pass name=(weight, loss)."
            )
        _check_balancing(balance, decay)
        self.balance, self.decay = balance, decay
        self.weights = {name: checked_weight(name, term) for name, term in losses.items()}
        self.losses = nn.ModuleDict({name: term[1] for name, term in losses.items()})
        self._takes = {name: arguments_of(term[1]) for name, term in losses.items()}
        self.register_buffer("task_norm", torch.zeros(()))
        self.register_buffer("term_norms", torch.zeros(len(losses)))

    def extra_repr(self) -> str:
        """Weights and balancing, for ``repr``."""
        weights = ", ".join(f"{name}={weight}" for name, weight in self.weights.items())
        return weights + (f", balance=True, decay={self.decay}" if self.balance else "")

    def forward(
        self, *, task_loss: Tensor | None = None, **arguments: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each loss before its weight."""
        self._refuse_unknown(arguments)
        terms = {name: self._term(name, loss, arguments) for name, loss in self.losses.items()}
        if self.balance and self.training and torch.is_grad_enabled():
            self._observe(terms, task_loss, arguments.get("h_s"))
        factors = self.factors() if self.balance else dict.fromkeys(terms, 1.0)
        weighted = [self.weights[name] * factors[name] * term for name, term in terms.items()]
        total = weighted[0]
        for term in weighted[1:]:
            total = total + term
        return total, {name: term.detach() for name, term in terms.items()}

    def factors(self) -> dict[str, Tensor]:
        """The balancing factor :math:`c_k` of each term; 1 before the first average."""
        ratios = (self.task_norm / self.term_norms).nan_to_num(nan=1.0).clamp(_LEAST, _MOST)
        return dict(zip(self.losses, ratios, strict=True))

    def _term(self, name: str, loss: nn.Module, arguments: dict[str, Any]) -> Tensor:
        takes, needs = self._takes[name]
        for missing in needs:
            if missing not in arguments:
                raise TypeError(
                    f"WeightedSum: loss {name!r} ({type(loss).__name__}) needs {missing}=, which "
                    f"was not given; got {', '.join(arguments) or 'nothing'}."
                )
        own = {key: arguments[key] for key in takes if key in arguments}
        value: Any
        if name == type(loss).__name__:
            value = loss(**own)  # its errors name it already
        else:
            value = located("WeightedSum", "loss", name, loss, **own)
        if not isinstance(value, Tensor) or value.dim() != 0:
            raise ValueError(
                f"WeightedSum: loss {name!r} must return a scalar; got {describe(value)}. "
                "Build it with reduction='mean' or 'sum'."
            )
        return value

    def _refuse_unknown(self, arguments: dict[str, Any]) -> None:
        taken = {key for takes, _ in self._takes.values() for key in takes}
        known = VOCABULARY | taken
        for key in arguments:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                raise TypeError(
                    f"WeightedSum: no loss takes {key}=. "
                    + (f"Did you mean {near[0]}=? " if near else "")
                    + f"The losses here take {', '.join(sorted(taken))}."
                )

    @torch.no_grad()
    def _update(self, task: Tensor, terms: Tensor) -> None:
        finite = task.isfinite() & terms.isfinite().all()
        for average, norm in ((self.task_norm, task), (self.term_norms, terms)):
            average.copy_(torch.where(finite, average.lerp(norm, 1 - self.decay), average))

    def _observe(self, terms: dict[str, Tensor], task_loss: Tensor | None, h_s: Any) -> None:
        """Update the averages with the gradient norms of this step."""
        if not isinstance(task_loss, Tensor) or task_loss.dim() != 0:
            raise TypeError(
                "WeightedSum: balance=True needs task_loss= in training mode, a scalar tensor; got "
                f"{describe(task_loss)}. Pass the task's loss; it is not added to the total."
            )
        layers = _layers_of(h_s)
        norms = [_gradient_norm("task_loss", task_loss, layers)]
        norms += [_gradient_norm(f"loss {name!r}", term, layers) for name, term in terms.items()]
        stacked = torch.stack(norms).to(self.task_norm)
        self._update(stacked[0], stacked[1:])


def _check_balancing(balance: Any, decay: Any) -> None:
    if not isinstance(balance, bool) or not isinstance(decay, Real):
        raise TypeError(
            "WeightedSum: balance is True or False and decay a number, so that neither can name a "
            f"term; got {describe(balance)} and {describe(decay)}. Give the term another name."
        )
    if not 0 <= float(decay) < 1:
        raise ValueError(f"WeightedSum: decay must be in [0, 1); got {decay!r}.")


def checked_weight(name: str, term: Any) -> float:
    """The weight of a term; raises unless the term is a pair of a number and a Module."""
    if not (isinstance(term, tuple) and len(term) == 2 and isinstance(term[1], nn.Module)):
        raise TypeError(
            f"WeightedSum: term {name!r} must be a pair (weight, loss) of a number and a Module; "
            f"got {describe(term)}."
        )
    weight = term[0]
    if isinstance(weight, bool) or not isinstance(weight, Real):
        raise TypeError(
            f"WeightedSum: the weight of {name!r} must be a number; got {describe(weight)}."
        )
    if not math.isfinite(weight):
        raise ValueError(f"WeightedSum: the weight of {name!r} must be finite; got {weight!r}.")
    return float(weight)


def _layers_of(h_s: Any) -> list[Tensor]:
    """The embeddings at which gradients are compared: all that have a gradient, each once."""
    layers = list({id(h): h for h in tensors_in(h_s) if h.requires_grad}.values())
    if not layers:
        found = list(tensors_in(h_s)) or [h_s]
        raise TypeError(
            "WeightedSum: balance=True needs h_s=, the student embeddings that the losses were "
            "computed from, or a list of them by layer, with a gradient; got "
            f"{', '.join(describe(h) for h in found)}."
        )
    return layers


def _gradient_norm(name: str, loss: Tensor, layers: list[Tensor]) -> Tensor:
    found: list[Tensor] = []
    if loss.requires_grad:
        gradients = torch.autograd.grad(loss, layers, retain_graph=True, allow_unused=True)
        found = [gradient for gradient in gradients if gradient is not None]
    if not found:
        raise ValueError(
            f"WeightedSum: balance=True compares gradients at h_s, but {name} does not depend on "
            "it. Pass the h_s that the logits and losses of this step were computed from."
        )
    norms = torch.stack([torch.linalg.vector_norm(gradient) for gradient in found])
    norm: Tensor = torch.linalg.vector_norm(norms)
    return norm
