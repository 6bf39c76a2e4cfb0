"""A weighted sum of losses, optionally balanced. Each loss gets the arguments that it names."""

import difflib
import inspect
import math
import warnings
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from graphkd._checks import describe, tensors_in
from graphkd._precision import WideBuffers, upcast
from graphkd.distributed import OwnBuffers
from graphkd.functional.several._combine import located
from graphkd.losses._base import arguments_of, first_pass
from graphkd.losses._gradients import gradients_at, joint_norm, node_beside, through_float16

# The names that a call may use even if no loss of this sum takes them.
VOCABULARY = {
    "h_s", "h_t", "z_s", "z_t", "y", "edge_index", "batch", "index", "mask", "generator", "ids",
    "labels", "positives", "extra_keys", "extra_targets", "reliability", "codebook", "context",
    "anchors", "clusters", "paths", "weight", "edge_weight", "temperature",
}  # fmt: skip
# A term whose mean runs over pairs of nodes falls as 1/N: at N nodes, similarity preserving needs a
# factor of some 32 N. These bounds leave it free up to 3e8 nodes.
_LEAST, _MOST = 1e-10, 1e10
_NAMES = " Arguments go by name: let its forward take h_s, h_t, z_s, z_t, y, edge_index, index, ..."


class WeightedSum(WideBuffers):
    r"""A weighted sum of distillation losses, called once with the arguments of all of them.

    If one of the losses has heads, hand ``objective.parameters()`` to the optimiser.

    .. math:: \text{total} = \sum_k w_k \, c_k \, L_k

    Each loss takes the arguments that its ``forward`` names. So ``weight=`` weighs the rows of all
    of them, and a loss whose values belong to graphs or layers refuses it: call that one beside the
    sum. Without ``balance``, every :math:`c_k` is 1. With ``balance``,

    .. math::
        c_k = \mathrm{clamp}\left(
            \frac{\mathrm{EMA}\,\lVert \partial L_{task} / \partial h_s \rVert}
                 {\mathrm{EMA}\,\lVert \partial L_k / \partial h_s \rVert},
            10^{-10}, 10^{10}\right)

    so that a weight of 1 pulls on the student's embeddings as hard as the task does, for any loss,
    N, d, E and C. A factor at a bound, which only a gradient that has all but vanished needs, is
    warned of once. Balancing needs ``task_loss=``, which is not added to the total, and an ``h_s``
    from which the task loss and every term were computed: compile the part of a student that ends
    in ``h_s``, and call its last layer outside. If ``h_s`` is several tensors (layers, or the pairs
    of TINED), those with a gradient count. Balancing costs one backward pass to ``h_s`` from the
    task loss and from each term, and under float16 a few more until float16 holds the gradient. The
    backward hooks of tensors and modules on the way see these passes too, under float16 with the
    gradient times a power of two. The averages are buffers. They move in training mode with
    gradients enabled; a gradient that is zero or not finite, of a term or of the task, leaves this
    term's averages unchanged.

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
        ValueError: If there is no term, a term's name or ``decay`` is out of range, a weight is not
            finite, a loss does not return a scalar, or balancing meets a term that does not depend
            on ``h_s``. Errors of the losses name the term.

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

    task_norms: Tensor
    term_norms: Tensor
    _wide = ("task_norms", "term_norms")

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
        for name in losses:
            _check_name(name)
        self.weights = {
            name: checked_weight(f"WeightedSum: term {name!r}", term)
            for name, term in losses.items()
        }
        self.losses = nn.ModuleDict({name: term[1] for name, term in losses.items()})
        self._takes = {name: _arguments_of(name, term[1]) for name, term in losses.items()}
        # The task's average is kept for each term: both move in the same steps.
        self.register_buffer("task_norms", upcast(torch.zeros(len(losses))))
        self.register_buffer("term_norms", upcast(torch.zeros(len(losses))))
        self._warned = self._moved = False

    def extra_repr(self) -> str:
        """Weights and balancing, for ``repr``."""
        weights = ", ".join(f"{name}={weight}" for name, weight in self.weights.items())
        return weights + (f", balance=True, decay={self.decay}" if self.balance else "")

    def forward(
        self, *unnamed: Any, task_loss: Tensor | None = None, **arguments: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each loss before its weight."""
        if unnamed:
            raise TypeError(
                f"WeightedSum takes arguments by name; got {', '.join(map(describe, unnamed))} "
                "without one. Call it as objective(h_s=h_s, h_t=h_t, z_s=z_s, z_t=z_t)."
            )
        self._refuse_unknown(arguments)
        self._warn_of_all_rows(arguments)
        if self.balance and self.training and torch.is_grad_enabled():
            self._moved = first_pass("WeightedSum(balance=True)", "its averages", self._moved)
            observed = self._observed
            if torch.compiler.is_compiling():  # what is compiled may free what a gradient needs
                observed = torch.compiler.disable(observed)  # type: ignore[no-untyped-call]
            terms = observed(task_loss, arguments)
        else:
            terms = self._terms(arguments)
        factors = self.factors() if self.balance else dict.fromkeys(terms, 1.0)
        weighted = [self.weights[name] * factors[name] * term for name, term in terms.items()]
        total: Tensor = sum(weighted[1:], weighted[0])
        return total, {name: term.detach() for name, term in terms.items()}

    def reset_parameters(self) -> None:
        """Forget the averages; the losses' heads have methods of their own."""
        self.task_norms.zero_()
        self.term_norms.zero_()

    def factors(self) -> dict[str, Tensor]:
        """The balancing factor :math:`c_k` of each term; 1 before the first average."""
        return dict(zip(self.losses, self._ratios().clamp(_LEAST, _MOST), strict=True))

    def _ratios(self) -> Tensor:
        return (self.task_norms / self.term_norms).float().nan_to_num(nan=1.0)

    def _term(self, name: str, loss: nn.Module, arguments: dict[str, Any]) -> Tensor:
        takes, needs = self._takes[name]
        who = f"WeightedSum: loss {name!r} ({type(loss).__name__})"
        refuse_missing(who, needs, arguments, arguments)
        own = {key: arguments[key] for key in takes if key in arguments}
        value: Any
        if name == type(loss).__name__:
            value = loss(**own)  # its errors name it already
        else:
            value = located("WeightedSum", "loss", name, loss, **own)
        if not isinstance(value, Tensor) or value.dim() != 0:
            raise ValueError(
                f"WeightedSum: loss {name!r} must return a scalar tensor; got {describe(value)}. "
                + (
                    "Build it with reduction='mean' or 'sum'."
                    if hasattr(loss, "reduction")
                    else "End its forward with .mean() or .sum(), and without .item()."
                )
            )
        return value

    def _terms(self, arguments: dict[str, Any]) -> dict[str, Tensor]:
        return {name: self._term(name, loss, arguments) for name, loss in self.losses.items()}

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

    def _warn_of_all_rows(self, arguments: dict[str, Any]) -> None:
        """Warn of a user's loss that index= does not reach; graphkd's own document it."""
        if arguments.get("index") is None or torch.compiler.is_compiling():
            return
        for name, loss in self.losses.items():
            if "index" not in self._takes[name][0] and not _is_ours(loss):
                warnings.warn(
                    f"WeightedSum: index= does not reach loss {name!r} ({type(loss).__name__}), "
                    "which sees all rows. Add index=None to its forward and select the rows there, "
                    "or select them before.",
                    stacklevel=5,
                )

    def _observed(self, task_loss: Tensor | None, arguments: dict[str, Any]) -> dict[str, Tensor]:
        """The terms, after their gradient norms have entered the averages."""
        terms = self._terms(arguments)
        if not isinstance(task_loss, Tensor) or task_loss.dim() != 0:
            raise TypeError(
                "WeightedSum: balance=True needs task_loss= in training mode, a scalar tensor; got "
                f"{describe(task_loss)}. Pass the task's loss; it is not added to the total."
            )
        layers = _layers_of(arguments.get("h_s"))
        half = through_float16(layers[0].device.type, [task_loss, *terms.values()])
        task = _gradient_norm("task_loss", task_loss, layers, half)
        norms = [_gradient_norm(f"loss {key!r}", term, layers, half) for key, term in terms.items()]
        task, term_norms = (norm.to(self.term_norms) for norm in (task, torch.stack(norms)))
        moves = (task > 0) & (term_norms > 0) & task.isfinite() & term_norms.isfinite()
        with torch.no_grad():
            for average, norm in ((self.task_norms, task), (self.term_norms, term_norms)):
                average.copy_(torch.where(moves, average.lerp(norm, 1 - self.decay), average))
        self._warn_at_bounds()
        return terms

    def _warn_at_bounds(self) -> None:
        """Warn once of a factor at a bound, where reading it makes no step wait for a GPU."""
        if self._warned or torch.compiler.is_compiling() or self.term_norms.device.type != "cpu":
            return
        for name, ratio in zip(self.losses, self._ratios().tolist(), strict=True):
            if not self._warned and not _LEAST <= ratio <= _MOST:
                self._warned = True
                warnings.warn(
                    f"WeightedSum: to pull on h_s as hard as the task, loss {name!r} needs the "
                    f"factor {ratio:.1e}, and gets the nearest in [{_LEAST:.0e}, {_MOST:.0e}]. One "
                    "of the two gradients has all but vanished: check this loss, or give it a "
                    "weight of its own in a WeightedSum without balance.",
                    stacklevel=6,
                )


def _is_ours(loss: nn.Module) -> bool:
    return type(getattr(loss, "_orig_mod", loss)).__module__.startswith("graphkd.")


def _check_balancing(balance: Any, decay: Any) -> None:
    if not isinstance(balance, bool) or not isinstance(decay, Real):
        raise TypeError(
            "WeightedSum: balance is True or False and decay a number, so that neither can name a "
            f"term; got {describe(balance)} and {describe(decay)}. Give the term another name."
        )
    if not 0 <= float(decay) < 1:
        raise ValueError(f"WeightedSum: decay must be in [0, 1); got {decay!r}.")


def _check_name(name: str) -> None:
    """Raise unless a ModuleDict takes the name."""
    if not name or "." in name or hasattr(nn.ModuleDict(), name):
        better = name.replace(".", "_") if "." in name else f"{name}_loss".lstrip("_")
        raise ValueError(
            "WeightedSum: a term's name must be one that torch.nn.ModuleDict can hold, not empty, "
            f"without dots, and none of its own names; got {name!r}. Call it {better!r}."
        )


def refuse_missing(who: str, needs: tuple[str, ...], own: Any, given: Any) -> None:
    """Raise if a loss needs what is not among its own arguments; ``given`` are all of the call."""
    for missing in needs:
        if missing not in own:
            got = ", ".join(name for name in given if name != missing) or "nothing"
            how = "" if missing in VOCABULARY else _NAMES
            raise TypeError(f"{who} needs {missing}=, which was not given; got {got}.{how}")


def _arguments_of(name: str, loss: nn.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The arguments that a term takes and needs; raises if its forward does not say."""
    takes, needs = arguments_of(loss)
    forward = inspect.signature(loss.forward).parameters.values()
    if {*takes} <= {"task_loss"} and any(one.kind is one.VAR_KEYWORD for one in forward):
        what = "takes **. Write them out: def forward(self, h_s, h_t)."
        if isinstance(loss, WeightedSum):
            what = "is a sum itself. Put its terms into this one, with the products of the weights."
        got = f"got {type(loss).__name__}, which {what}"
        raise TypeError(f"WeightedSum: term {name!r} must name its arguments; {got}")
    return takes, needs


def checked_weight(what: str, term: Any) -> float:
    """The weight of a term; raises unless the term is a pair of a number and a Module."""
    if isinstance(term, tuple) and len(term) == 2 and isinstance(term[1], nn.Module):
        weight = term[0]
        if isinstance(weight, bool) or not isinstance(weight, Real):
            raise TypeError(
                f"{what} must have a number as its weight; got {describe(weight)}. Pass a "
                "plain float."
            )
        if not math.isfinite(weight):
            raise ValueError(
                f"{what} must have a finite weight; got {weight!r}. Leave the term out, or give it "
                "another weight."
            )
        return float(weight)
    parts = list(term) if isinstance(term, tuple | list) else [term]
    listed = ", ".join(map(describe, parts))
    if isinstance(term, tuple | list):
        listed = f"({listed})" if isinstance(term, tuple) else f"[{listed}]"
    raise TypeError(
        f"{what} must be a pair (weight, loss) of a number and a Module; got {listed}. "
        f"{_meant(parts)}"
    )


def _meant(parts: list[Any]) -> str:
    """What to pass instead of these parts of a term."""
    weight = next((part for part in parts if isinstance(part, Real)), 1.0)
    loss = next((part for part in parts if not isinstance(part, Real)), None)
    if isinstance(loss, type):
        return f"Build the loss: ({weight}, {loss.__name__}(...))."
    if isinstance(loss, nn.Module):
        swapped = "The two are swapped. " if loss is parts[0] and len(parts) == 2 else ""
        return f"{swapped}Pass the tuple ({weight}, {type(loss).__name__}(...))."
    if callable(loss):
        return (
            f"A function is no Module: pass that of the loss, such as ({weight}, KDLoss()) for "
            "kd_loss, or call your own function in the forward of an nn.Module."
        )
    return "Pass a tuple such as (1.0, KDLoss())."


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


def _gradient_norm(name: str, loss: Tensor, layers: list[Tensor], half: bool) -> Tensor:
    """The norm of the gradient at the layers; raises if the loss depends on none of them."""
    gradients, scale = gradients_at(loss, layers, half)
    found = [gradient for gradient in gradients if gradient is not None]
    if not found:
        beside = node_beside(loss, layers)
        raise ValueError(
            f"WeightedSum: balance=True compares gradients at h_s, but {name} does not depend on "
            + (
                f"it: both leave {beside} side by side, as the outputs of a student that is "
                "compiled or wrapped as a whole. Compile or wrap the part that ends in h_s, and "
                "call the last layer on h_s outside of it; or build WeightedSum without balance."
                if beside
                else "it. Pass the h_s that the logits and losses of this step were computed from."
            )
        )
    return joint_norm(found) / scale
