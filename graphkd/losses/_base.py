"""The base of the Modules: options, ``repr``, and heads with precision, selection and graphs."""

import copy
import inspect
from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from graphkd._checks import check_flag, check_pair, check_widths, describe
from graphkd._precision import full_precision, has_rows, in_backward, upcast
from graphkd.distributed import OwnBuffers, meet, refuse, reporting
from graphkd.functional._rows import matched_rows, resolve_index, select_rows
from graphkd.graph import resolve_edges
from graphkd.heads import HEADS, check_ranked, head_pair, project, reset_parameters, student_head


class DistillationLoss(nn.Module):
    """Base of the losses. Each option is an attribute; ``options`` are the function's options.

    In a subclass, ``_check_options`` is the function that raises on options out of range, and
    ``takes_pairs`` says whether it takes (sources, targets), nodes of two types.
    """

    _check_options: ClassVar[Callable[..., object]]
    takes_pairs: ClassVar[bool] = False
    _ddp_params_and_buffers_to_ignore = OwnBuffers()

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._names = tuple(options)
        for name, value in options.items():
            setattr(self, name, value)
        self._check()

    def __setattr__(self, name: str, value: Any) -> None:
        held = None
        if name in vars(self).get("_names", ()):
            held = self._parameters.get(name)
            if isinstance(value, Tensor):
                self._refuse_computed(name, value)
        is_tensor = isinstance(value, Tensor) and not isinstance(value, nn.Parameter)
        if held is not None and (is_tensor or isinstance(value, Real)):
            with torch.no_grad():  # a value for a temperature that is a Parameter, which stays one
                held.copy_(value) if is_tensor else held.fill_(value)
            self._check()
        else:
            super().__setattr__(name, value)

    def _refuse_computed(self, name: str, value: Tensor) -> None:
        if value.requires_grad and not value.is_leaf:
            remedy = f"call the function of graphkd.functional with {name}=log.exp()."
            if name in arguments_of(self)[0]:
                remedy = f"pass {name}=log.exp() in each call of the loss."
            raise ValueError(
                f"{type(self).__name__}: {name} must be a number, a Parameter or a tensor that is "
                f"not computed from what learns; got {describe(value)} that is, which serves one "
                f"backward pass only. Pass an nn.Parameter; to learn its logarithm, {remedy}"
            )

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move the tensors among the options, too; their dtype stays, as a number's does."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, value in self.options.items():
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                moved = fn(value)
                setattr(self, name, moved if value.is_meta else value.to(moved.device))
        return self

    def _check(self) -> None:
        """Raise on an option that is out of range."""
        self._check_options(type(self).__name__, **self.options)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments for the function."""
        return {name: getattr(self, name) for name in self._names}

    def extra_repr(self) -> str:
        """The options, for ``repr``."""
        options = self.options
        if (group := options.get("process_group")) is not None:
            options["process_group"] = f"{group.name()}, {group.size()} ranks"
        return ", ".join(f"{name}={_shown(value)}" for name, value in options.items())

    def __deepcopy__(self, memo: dict[int, Any]) -> "DistillationLoss":
        """A copy with the same process group, because a group cannot be copied."""
        group = self.options.get("process_group")
        memo[id(group)] = group
        new: Any = type(self).__new__(type(self))
        memo[id(self)] = new
        new.__setstate__(copy.deepcopy(self.__dict__, memo))
        return new  # type: ignore[no-any-return]

    def __getstate__(self) -> dict[str, Any]:
        """The state to pickle."""
        if self.options.get("process_group") is not None:
            raise TypeError(
                f"{type(self).__name__}: a process group cannot be pickled. Save the loss's "
                "state_dict(), or set its process_group to None before."
            )
        return self.__dict__


def _shown(option: Any) -> str:
    """An option for ``repr``; of a tensor, its number if it is a single one, else its shape."""
    if not isinstance(option, Tensor):
        return repr(option)
    if option.dim() or option.is_meta:
        return describe(option)
    return f"{type(option).__name__}({option.item():g})"


class ProjectedLoss(DistillationLoss):
    """A loss whose rows pass through a pair of heads first.

    If ``student_only`` is true, a named head projects the student to the teacher's width, and the
    teacher's rows stay as they are.
    """

    student_only: ClassVar[bool] = False
    head_names: ClassVar[tuple[str, ...]] = HEADS

    def __init__(
        self,
        dim_s: int,
        dim_t: int,
        proj_dim: int,
        head: Any,
        head_takes_edges: bool,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        loss = type(self).__name__
        self.dim_s, self.dim_t = dim_s, dim_t
        # The width that the heads end in. A pair of the user's may end in another one.
        self.width = dim_t if head in ("identity", "student") else proj_dim
        if self.student_only:
            self.head_s, self.head_t = student_head(loss, head, dim_s, dim_t)
        else:
            pair = head_pair(loss, head, dim_s, dim_t, proj_dim, self.head_names)
            self.head_s, self.head_t = pair
        check_flag(f"{loss}: head_takes_edges", head_takes_edges)
        self.head_takes_edges = head_takes_edges or head == "gcn"

    def reset_parameters(self) -> None:
        """Draw new parameters for the heads."""
        reset_parameters(self.head_s)
        reset_parameters(self.head_t)

    def check_ranked_heads(self) -> None:
        """Raise if the loss has a process group and heads that need all ranks' rows at once."""
        group = self.options.get("process_group")
        if group is not None:
            loss, remedy = type(self).__name__, "Put the convolution into the student, or 'mlp'."
            refuse(loss, group, **{"a head that takes edges": (self.head_takes_edges, remedy)})
            check_ranked(loss, self.head_s, self.head_t)

    def extra_repr(self) -> str:
        """The widths and options, for ``repr``."""
        return f"{self.dim_s}, {self.dim_t}, {super().extra_repr()}"

    def projected(
        self, h_s: Tensor, h_t: Tensor, edge_index: Any, index: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The selected rows of both sides, each projected by its head, and their numbers.

        Row-wise heads see only the selected rows. Heads that take edges see the whole graph, and
        the selection comes after them. Without rows, nothing is projected, and every parameter of
        the loss gets a zero gradient, which DistributedDataParallel waits for.
        """
        loss, group, edges = type(self).__name__, self.options.get("process_group"), None
        with reporting(group):
            _refuse_rows_as_edges(loss, edge_index, h_s, self.head_takes_edges)
            s, t, chosen = matched_rows(loss, h_s, h_t, None if self.head_takes_edges else index)
            check_widths(loss, h_s, h_t, self.dim_s, self.dim_t)
            if self.head_takes_edges:
                chosen = resolve_index(loss, index, s)
                edges = self._edges(s, edge_index)
        # The student decides: a teacher stored as float64 does not need float64 heads.
        s, t = (h.to(upcast(h_s[:0]).dtype) for h in (s, t))
        ranks = None
        if group is not None:
            ranks = meet(loss, group, rows=[s.size(0)], dtype=s.dtype, training=self.training)
        with full_precision(s.device):
            # Among ranks, heads run without rows too: BatchNorm meets the other ranks.
            if ranks is None and not has_rows(s):
                s, t = (h[:, :1].expand(-1, self.width) for h in (s, t))
                return s + zero_of_parameters(self, s), t, chosen
            s = project(loss, self.head_s, s, edges, "h_s", ranks)
            t = project(loss, self.head_t, t, edges, "h_t", ranks)
            if edges is not None:
                s, t = select_rows(loss, s, chosen), select_rows(loss, t, chosen)
        names, remedy = (
            ("projected h_s", "projected h_t"),
            "The two heads must end in the same width.",
        )
        check_pair(loss, s, t, names=names, projecting=remedy)
        return s, t, chosen

    def _edges(self, h: Tensor, edge_index: Any) -> Tensor:
        loss, n = type(self).__name__, h.size(0)
        if edge_index is None:
            raise TypeError(
                f"{loss}: its heads are graph convolutions and need the graph; got None. "
                "Call it with edge_index=."
            )
        edges = resolve_edges(loss, edge_index, n, n, h.device)
        return torch.stack([edges.src, edges.dst])


def _refuse_rows_as_edges(loss: str, edge_index: Any, h_s: Any, looked_at: bool) -> None:
    """Raise for a mask or labels in the place of edges, which row-wise heads never look at.

    Heads that look at edges have checks of their own, which take such rows for bad edges.
    """
    if not isinstance(edge_index, Tensor):
        return
    rows = edge_index.dim() == 1
    if looked_at and rows:
        rows = isinstance(h_s, Tensor) and edge_index.shape == h_s.shape[:1]
    if rows or (edge_index.dtype == torch.bool and not looked_at):
        raise TypeError(
            f"{loss}: edge_index must hold edges [2, E]; got {describe(edge_index)}. Pass a mask, "
            "row numbers or labels by name: index= or labels=."
        )


def first_pass(loss: str, what: str, moved: bool) -> bool:
    """Whether a pass in which a loss moves its own state is outside of a backward pass.

    ``torch.utils.checkpoint`` computes a loss again in the backward pass. With
    ``use_reentrant=False``, its state has moved in the first pass (``moved``), and the gradient
    would be another one's. Otherwise the first pass records nothing, and moves nothing.
    """
    if torch.compiler.is_compiling() or not in_backward():
        return True
    if moved:
        raise RuntimeError(
            f"{loss}: it is computed again in the backward pass, as by torch.utils.checkpoint, but "
            f"{what} moved when it was computed first. Call the loss outside of the checkpoint, "
            "and leave the model inside."
        )
    return False


def zero_of_parameters(module: nn.Module, like: Tensor) -> Tensor:
    """0 in the dtype of ``like``, from which every parameter that learns gets a zero gradient."""
    zero = like.new_zeros(())
    for parameter in module.parameters():
        if parameter.requires_grad and not isinstance(parameter, UninitializedParameter):
            zero = zero + parameter.flatten()[:0].sum()
    return zero.to(like.dtype)


def arguments_of(loss: nn.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the arguments that a loss's forward takes, and of those that it needs.

    If these names depend on an inner loss, the outer loss gives them itself.
    """
    if callable(own := getattr(loss, "names_of_arguments", None)):
        takes, needs = own()
        return tuple(takes), tuple(needs)
    parameters = inspect.signature(loss.forward).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    inner = getattr(loss, "_orig_mod", getattr(loss, "module", None))
    if not named and isinstance(inner, nn.Module):
        return arguments_of(inner)  # the wrappers of torch.compile and DataParallel name nothing
    return (
        tuple(p.name for p in named),
        tuple(p.name for p in named if p.default is inspect.Parameter.empty),
    )
