"""The losses inside a loss: how they are built and called, and the attention that weighs them."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from graphkd._checks import check_count, check_pair, check_width, describe
from graphkd._precision import full_precision, student_and_teacher, upcast
from graphkd.functional._rows import resolve_index, select_rows
from graphkd.functional.several._combine import check_factors, located
from graphkd.functional.several.layerwise import as_layers, cross_attention
from graphkd.heads import project, reset_parameters
from graphkd.losses._base import DistillationLoss, arguments_of


class OuterLoss(DistillationLoss):
    """A loss that is a sum of other losses, each with its own inputs.

    Args:
        inner: A factory ``inner(dim_s, dim_t)`` of Modules, or one Module for all.
        widths: The pairs of widths that the factory builds for; None if they are not known.
        count: How many times the loss is applied; None if that is not known.
        options: The options of the function.
    """

    def __init__(
        self,
        inner: Any,
        widths: Sequence[tuple[Any, Any]] | None,
        count: int | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        name = type(self).__name__
        if isinstance(inner, nn.Module):
            if inner.state_dict() and count != 1:
                raise ValueError(
                    f"{name}: {type(inner).__name__} has parameters or buffers, which cannot be "
                    "shared; got one Module for all. Pass a factory instead: lambda dim_s, dim_t: "
                    f"{type(inner).__name__}(...)."
                )
            self._hold([inner])
            return
        if not callable(inner):
            raise TypeError(
                f"{name}: loss must be a Module, or a factory loss(dim_s, dim_t) of Modules; got "
                f"{describe(inner)}."
            )
        if widths is None:
            raise ValueError(
                f"{name}: a factory needs the widths of both sides; got no dims_s or no dims_t. "
                "Pass them, or a Module without parameters in the factory's place."
            )
        _check_factory(name, inner)
        built = [located(name, "widths", pair, inner, *pair) for pair in widths]
        for module in built:
            if not isinstance(module, nn.Module):
                raise TypeError(
                    f"{name}: the factory must return a Module; got {describe(module)}. Functions "
                    "belong to graphkd.functional's function of the same name."
                )
        self._hold(built)

    def _hold(self, losses: list[nn.Module]) -> None:
        self.losses = nn.ModuleList(losses)
        takes, needs = arguments_of(losses[0])
        # The inner loss's names of student and teacher, its other arguments, and those it needs.
        self.sides = (takes[0], takes[1]) if len(takes) > 1 else ("h_s", "h_t")
        self.takes = tuple(name for name in takes if name not in self.sides)
        self.needs = tuple(name for name in needs if name not in self.sides)

    def _check(self) -> None:
        """Check nothing: the subclasses check their options before they build the inner losses."""

    def reset_parameters(self) -> None:
        """Draw new parameters for all losses and for the attention."""
        for child in self.children():
            reset_parameters(child)

    @property
    def inner(self) -> Any:
        """The ``loss`` for the function: one for all, or a list with one for each."""
        return self.losses[0] if len(self.losses) == 1 else list(self.losses)

    def check_arguments(self, arguments: Mapping[str, Any], **more: Any) -> None:
        """Raise for an argument that the inner loss does not take, or needs and lacks.

        ``more`` are arguments that are given if they are not None.
        """
        inner = type(self.losses[0]).__name__
        arguments = {**arguments, **{name: more[name] for name in more if more[name] is not None}}
        for name in arguments:
            if self.takes and name not in self.takes:
                raise TypeError(
                    f"{type(self).__name__}: {inner} takes no {name}=; it takes "
                    f"{', '.join(self.takes)}."
                )
        for name in self.needs:
            if name not in arguments:
                raise TypeError(
                    f"{type(self).__name__}: {inner} needs {name}=, which was not given; got "
                    f"{', '.join(arguments) or 'nothing'}."
                )


class CrossAttention(nn.Module):
    """Attention of query layers over key layers, for each node, with a small MLP for each layer.

    Args:
        loss: The loss that errors name.
        dims_s: The queries' widths.
        dims_t: The keys' widths.
        width: The width in which queries and keys are compared.
    """

    def __init__(self, loss: str, dims_s: Sequence[int], dims_t: Sequence[int], width: int) -> None:
        super().__init__()
        check_count(f"{loss}: attention_dim", width, least=1)
        for name, dims in (("dims_s", dims_s), ("dims_t", dims_t)):
            for dim in dims:
                check_count(f"{loss}: {name}", dim, least=1)
        self.loss = loss
        self.dims_s, self.dims_t = tuple(dims_s), tuple(dims_t)
        self.queries = nn.ModuleList(_embedding(dim, width) for dim in dims_s)
        self.keys = nn.ModuleList(_embedding(dim, width) for dim in dims_t)

    def extra_repr(self) -> str:
        """The widths, for ``repr``."""
        return f"{list(self.dims_s)}, {list(self.dims_t)}"

    def forward(
        self, h_s: Sequence[Any], h_t: Sequence[Any], index: Tensor | None
    ) -> tuple[Tensor | None, Tensor]:
        """The selected row numbers, and the weights: a matrix for each selected node."""
        for h in (*h_s, *h_t):
            check_pair(self.loss, h_s[0], h)
        chosen = resolve_index(self.loss, index, h_s[0])
        dtype = upcast(h_s[0]).dtype
        students = [upcast(h).to(dtype) for h in h_s]
        teachers = [student_and_teacher(students[0], upcast(h).to(dtype))[1] for h in h_t]
        with full_precision(h_s[0].device):
            queries = self._embedded("s", students, self.dims_s, self.queries, chosen)
            keys = self._embedded("t", teachers, self.dims_t, self.keys, chosen)
            return chosen, cross_attention(queries, keys)

    def _embedded(
        self,
        side: str,
        layers: list[Tensor],
        dims: tuple[int, ...],
        heads: nn.ModuleList,
        chosen: Tensor | None,
    ) -> list[Tensor]:
        embedded = []
        for number, (h, dim, head) in enumerate(zip(layers, dims, heads, strict=True)):
            check_width(self.loss, f"h_{side}[{number}]", h, f"dims_{side}[{number}]", dim)
            rows = select_rows(self.loss, h, chosen)
            embedded.append(project(self.loss, head, rows, None, f"h_{side}[{number}]"))
        return embedded


def _check_factory(loss: str, inner: Callable[..., Any]) -> None:
    """Raise unless it can be called with two widths. A few callables do not tell, and pass."""
    try:
        signature = inspect.signature(inner)
    except ValueError:
        return
    try:
        signature.bind("dim_s", "dim_t")
        # A loss without widths would take them for its first two options.
        if _is_loss(inner) and list(signature.parameters)[:1] != ["dim_s"]:
            raise TypeError("no dim_s")
    except TypeError as error:
        name = getattr(inner, "__name__", type(inner).__name__)
        raise TypeError(
            f"{loss}: a factory is called with two widths, loss(dim_s, dim_t); got {name}, which "
            f"takes {signature}: {error}. A loss without widths is passed as an instance, "
            f"{name}(); what needs more goes into a lambda dim_s, dim_t: {name}(...)."
        ) from error


def _is_loss(inner: Any) -> bool:
    return isinstance(inner, type) and issubclass(inner, DistillationLoss)


def _embedding(dim: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(dim, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))


def both_widths(
    loss: str, dims_s: Any, dims_t: Any, needed_for: str, what: str = "layer"
) -> tuple[dict[Any, Any], dict[Any, Any]] | None:
    """The widths of both sides by layer; None if neither was given and nothing needs them."""
    if dims_s is None and dims_t is None and not needed_for:
        return None
    if dims_s is None or dims_t is None:
        needing = f", and {needed_for} needs both" if needed_for else ""
        raise ValueError(
            f"{loss}: dims_s and dims_t go together{needing}; got {dims_s!r} and {dims_t!r}. Pass "
            "the widths of both sides."
        )
    return as_layers(loss, "dims_s", dims_s, what), as_layers(loss, "dims_t", dims_t, what)


def fixed_weights(
    loss: str, weights: Any, count: int | None, what: str
) -> tuple[float, ...] | None:
    """Weights that do not learn, checked; ``count`` is None if it is not known yet."""
    if weights is None:
        return None
    if isinstance(weights, Tensor):
        raise ValueError(
            f"{loss}: weights must be plain numbers, one per {what}; got {describe(weights)}. "
            "Call .tolist() on it."
        )
    check_factors(loss, weights, len(weights) if count is None else count, what)
    return tuple(weights)


def matched(
    loss: str, name: str, layers: Any, keys: Sequence[Any] | None, what: str = "layer"
) -> dict[Any, Any]:
    """The layers by name or number, in the order that the loss was built for."""
    given = as_layers(loss, name, layers, what)
    if keys is None:
        return given
    if set(given) != set(keys):
        raise ValueError(
            f"{loss}: {name} must hold the {what}s that {name.replace('h_', 'dims_')} names, "
            f"{', '.join(map(repr, keys))}; got {', '.join(map(repr, given))}."
        )
    return {key: given[key] for key in keys}
