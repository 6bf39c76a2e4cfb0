"""Losses by node type and edge type of a heterogeneous graph."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from graphkd._checks import describe
from graphkd.distributed import OwnBuffers, reporting
from graphkd.losses._base import arguments_of, zero_of_parameters
from graphkd.losses.several._by_type import (
    BY_TYPE,
    OF_EDGES,
    OUTPUTS,
    Type,
    attached_zero,
    contents,
    is_pair,
    joins_two,
    listed,
    module_name,
    naming,
    of_one_type,
    own_arguments,
    title,
    types_of,
)
from graphkd.losses.several.weighted import (
    VOCABULARY,
    WeightedSum,
    checked_weight,
    refuse_missing,
)

Part: TypeAlias = Tensor | dict[str, Tensor]


class HeteroLoss(nn.Module):
    r"""Distillation losses by node type and edge type, called with PyG's dictionaries.

    If one of the losses has heads, hand ``objective.parameters()`` to the optimiser.

    .. math:: \text{total} = \sum_r w_r \, L_r

    over the given types r. The loss of a node type compares the rows of this type. The loss of an
    edge type gets the edges and, like the convolutions inside PyG's ``HeteroConv``, the pairs
    (sources, targets) of both models. If source and target are one type, plain tensors replace the
    pairs.

    Every keyword is the name of an argument of the losses, with or without PyG's ending ``_dict``.
    Its value is a dictionary by type. An edge type takes its own entry, or else the entry of its
    target type: ``index_dict={"paper": seeds}`` selects rows of papers, and the centres of each
    edge type that ends in papers. ``weight_dict`` weighs them in the same way; None as an edge
    type's own entry leaves it unweighted. An argument that is not by type, such as ``generator=``,
    goes to every loss that takes it.

    A type with no rows, no edges or no selected rows counts as 0. A type that no dictionary has, or
    whose output is None, as HGTConv gives it, is an error, unless ``metadata`` says that the type
    exists: then it counts as 0. The heads of such types get zero gradients, which
    DistributedDataParallel waits for.

    Args:
        losses: By type, either ``(weight, loss)``, or ``{name: (weight, loss)}`` for several
            losses, or a :class:`WeightedSum`. A node type is a string, an edge type is
            ``(source, relation, target)``. Each loss has its own heads. To share them, give two
            types the same Module; or, if it keeps rows by node id, the same pair as ``head=``.
        metadata: The node types and edge types of the graph, as ``data.metadata()`` gives them.

    Shapes:
        - **h_s:** by node type, :math:`[N_v, d_s]`
        - **h_t:** by node type, :math:`[N_v, d_t]`
        - **edge_index_dict:** by edge type, :math:`[2, E_r]`, or any format of
          :class:`graphkd.Graph`
        - **weight_dict:** by type, :math:`[N_v]`, a weight for each row or centre
        - **index_dict:** by type, :math:`[M]`, or a mask over the rows or centres
        - **output:** a scalar, and the parts

    Returns:
        ``(total, parts)``: the scalar to add to the task loss, and by type each :math:`L_r` before
        its weight, detached. A type with several losses has a dictionary by name.

    Raises:
        ValueError: If there is no loss, a type is not in ``metadata`` or in a dictionary, a loss
            that keeps rows by node id is given to two node types or a balanced sum to two types,
            or a loss refuses its values. Errors name the type.
        TypeError: If a term has none of the three forms, an argument is unknown, missing or not a
            dictionary, a node type has a loss that needs edges, or an edge type between two node
            types one that compares the nodes of one: of the losses here, LSP alone takes pairs.

    Example:
        >>> import torch
        >>> from graphkd import GCRDLoss, HeteroLoss, LSPLoss
        >>> objective = HeteroLoss({
        ...     "paper": (0.05, GCRDLoss(2, 2, head="identity", temperature=1.0)),
        ...     ("author", "writes", "paper"): (10.0, LSPLoss()),
        ... })
        >>> h_s = {"paper": torch.eye(2), "author": torch.tensor([[1.0, 0.0], [1.0, 0.0]])}
        >>> h_t = {"paper": torch.eye(2), "author": torch.tensor([[1.0, 0.0], [0.0, 1.0]])}
        >>> edges = {("author", "writes", "paper"): torch.tensor([[0, 1], [0, 0]])}
        >>> total, parts = objective(h_s, h_t, edges)
        >>> parts["author", "writes", "paper"]
        tensor(0.1109)
    """

    _ddp_params_and_buffers_to_ignore = OwnBuffers()

    def __init__(
        self,
        losses: Mapping[Any, Any],
        *,
        metadata: tuple[Iterable[str], Iterable[tuple[str, str, str]]] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(losses, Mapping) or not losses:
            raise TypeError(
                "HeteroLoss takes a dictionary with at least one {type: (weight, loss)}; got "
                f"{'an empty one' if losses == {} else describe(losses)}."
            )
        self.metadata = None if metadata is None else types_of(metadata)
        self.losses = nn.ModuleDict()
        self.names: dict[Type, str] = {}
        self.weights: dict[Type, float] = {}
        self._single: set[Type] = set()
        self._takes: dict[Type, set[str]] = {}
        self._of_one_type: dict[Type, str | None] = {}
        for key, term in losses.items():
            self._check_type(key)
            self._add(key, term)

    def extra_repr(self) -> str:
        """The weights of whole sums, for ``repr``; single losses print their own weights."""
        weights = {self.names[key]: weight for key, weight in self.weights.items()}
        return ", ".join(f"{name}={weight}" for name, weight in weights.items() if weight != 1)

    def forward(
        self,
        h_s: Mapping[Any, Tensor] | None = None,
        h_t: Mapping[Any, Any] | None = None,
        edge_index_dict: Mapping[Any, Any] | None = None,
        *,
        index_dict: Mapping[Any, Tensor] | None = None,
        **arguments: Any,
    ) -> tuple[Tensor, dict[Type, Part]]:
        """The weighted sum over the types, and each loss before its weight."""
        positional = {"h_s": h_s, "h_t": h_t, "edge_index": edge_index_dict, "index": index_dict}
        by_type, shared = self._read(positional, arguments)
        total = attached_zero(by_type)
        parts: dict[Type, Part] = {}
        for key, name in self.names.items():
            loss: Any = self.losses[name]
            own = own_arguments(key, self._takes[key], by_type)
            if own is None:
                self._absent(key, loss, by_type)
                total = total + zero_of_parameters(loss, total)
                parts[key] = self._part(key, dict.fromkeys(loss.losses, torch.zeros_like(total)))
                continue
            if (of_one := self._of_one_type[key]) and is_pair(key, "h_s", by_type):
                raise TypeError(joins_two(key, of_one))
            own |= {name: shared[name] for name in shared if name in self._takes[key]}
            for term, one in loss.losses.items():
                who = f"HeteroLoss, {title(key)}: {type(one).__name__}"
                refuse_missing(who, loss._takes[term][1], own, {**by_type, **shared})
            value, part = naming(key, loss, **own)
            total = total + self.weights[key] * value
            parts[key] = self._part(key, part)
        return total, parts

    def _absent(self, key: Type, loss: WeightedSum, by_type: dict[str, Mapping[Any, Any]]) -> None:
        for one in loss.losses.values():
            group = getattr(one, "process_group", None)
            with reporting(group):  # the other ranks call this loss, and wait
                if group is not None:
                    raise ValueError(
                        f"HeteroLoss: {title(key)} is not in this batch, but its loss is one over "
                        "all ranks, which all call it. Give every rank every type, those without "
                        "nodes or edges with zero rows."
                    )
        if self.metadata is None:
            known = any(key in values for values in by_type.values())  # with None as its output
            raise ValueError(
                f"HeteroLoss: {title(key)} is not in this batch: {contents(key, by_type)}. "
                f"{'Build' if known else 'Correct its name, or build'} HeteroLoss with "
                "metadata=data.metadata(), so that a type which a batch lacks counts as 0."
            )

    def _part(self, key: Type, part: dict[str, Tensor]) -> Part:
        return next(iter(part.values())) if key in self._single else part

    def _check_type(self, key: Any) -> None:
        whole = isinstance(key, tuple) and len(key) == 3
        if not isinstance(key, str) and not (whole and all(isinstance(k, str) for k in key)):
            raise TypeError(
                "HeteroLoss: a node type is a string and an edge type a tuple (source, relation, "
                f"target) of strings; got {key!r}."
            )
        if self.metadata is not None and key not in self.metadata:
            alike = (known for known in self.metadata if isinstance(known, type(key)))
            raise ValueError(
                f"HeteroLoss: the metadata have no {title(key)}; they have {listed(alike)}. "
                "Correct its name."
            )

    def _add(self, key: Type, term: Any) -> None:
        name = module_name(key)
        if name in self.names.values():
            taken = next(other for other, known in self.names.items() if known == name)
            raise ValueError(
                f"HeteroLoss: {title(taken)} and {title(key)} would both be called {name!r} in "
                "the state_dict. Rename one of them."
            )
        loss, weight = naming(key, _weighted_sum, term)
        if isinstance(term, tuple) and loss is not term[1]:
            self._single.add(key)
        twin = next((other for other, n in self.names.items() if self.losses[n] is loss), None)
        if loss.balance and twin is not None:
            raise ValueError(
                "HeteroLoss: a WeightedSum(balance=True) keeps averages of one type's gradients; "
                f"got one for {title(twin)} and {title(key)}. Build a sum for each; their losses "
                "may be the same."
            )
        self._takes[key] = {"task_loss", "h_s"} if loss.balance else {"task_loss"}
        for one in loss.losses.values():
            self._refuse_shared_rows(key, one)
            takes, needs = arguments_of(one)
            self._takes[key] |= set(takes)
            if isinstance(key, str) and (
                "edge_index" in needs or getattr(one, "head_takes_edges", False)
            ):
                parts = tuple(key.split("__"))
                near = parts if len(parts) == 3 else (key, "to", key)
                raise TypeError(
                    f"HeteroLoss: {type(one).__name__} of {title(key)} needs edges. Give it to "
                    f"an edge type, a tuple such as {near}."
                )
        self._of_one_type[key] = of_one_type(key, loss)
        self.names[key], self.weights[key] = name, weight
        self.losses[name] = loss

    def _refuse_shared_rows(self, key: Type, loss: nn.Module) -> None:
        """Raise if the loss, or a part of it, keeps rows by the node ids of another type."""
        # A temperature of each row is a loss's own, too, and no buffer.
        own = ((part, getattr(part, "_own_buffers", ())) for part in loss.modules())
        kept = {id(part) for part, names in own if {*names} & part._buffers.keys()}
        for other, name in self.names.items():
            of_one = _node_type(other) == _node_type(key)
            if not of_one and kept & {id(part) for part in self.losses[name].modules()}:
                raise ValueError(
                    f"HeteroLoss: {type(loss).__name__} keeps rows by node id, and each node type "
                    f"has ids of its own; got one loss for {title(other)} and {title(key)}. Build "
                    "a loss for each; to share heads alone, pass both the same head=(head_s, "
                    "head_t)."
                )

    def _read(
        self, positional: dict[str, Any], keywords: dict[str, Any]
    ) -> tuple[dict[str, Mapping[Any, Any]], dict[str, Any]]:
        """The arguments by type, and the arguments for all losses."""
        given = {name: value for name, value in positional.items() if value is not None}
        taken = {name for takes in self._takes.values() for name in takes}
        for keyword, value in keywords.items():
            name = keyword.removesuffix("_dict")
            if name in given:
                raise TypeError(f"HeteroLoss: {name} was given twice, once as {keyword}=.")
            if name not in taken | VOCABULARY:
                raise TypeError(
                    f"HeteroLoss: no loss takes {keyword}=. The losses here take "
                    f"{', '.join(sorted(taken))}, each with the ending _dict or without."
                )
            if value is not None:
                given[name] = value
        for name, value in given.items():
            has_rows = isinstance(value, Tensor) and value.dim() > 0
            if not isinstance(value, Mapping) and (has_rows or name in BY_TYPE):
                raise TypeError(
                    f"HeteroLoss: {name} must be a dictionary by type; got {describe(value)}. Pass "
                    "{type: " + name + "}."
                )
        by_type = {name: value for name, value in given.items() if isinstance(value, Mapping)}
        self._refuse_unknown_types(by_type)
        return by_type, {name: value for name, value in given.items() if name not in by_type}

    def _refuse_unknown_types(self, by_type: dict[str, Mapping[Any, Any]]) -> None:
        known = {key for name in (*OUTPUTS, "edge_index") for key in by_type.get(name, ())}
        known |= {end for key in known if isinstance(key, tuple) for end in (key[0], key[-1])}
        known |= set(self.metadata or ())
        for name, values in by_type.items():
            for key in values:
                if key not in known:
                    raise ValueError(
                        f"HeteroLoss: {name} names {title(key)}, which is not in this batch; it "
                        f"has {listed(known)}."
                    )
                if name in OF_EDGES and isinstance(key, str):
                    raise ValueError(
                        f"HeteroLoss: {name} must be by edge type; got one of {title(key)}. Pass "
                        f"{{(source, relation, target): {name}}}."
                    )


def _node_type(key: Type) -> str:
    """The type whose nodes the rows are: an edge type's are those of its targets."""
    return key if isinstance(key, str) else key[-1]


def _weighted_sum(term: Any) -> tuple[WeightedSum, float]:
    """Any of the three forms of a term, as a sum and its weight."""
    if isinstance(term, WeightedSum):
        return term, 1.0
    if isinstance(term, Mapping):
        for name in term:
            if not isinstance(name, str):
                raise TypeError(
                    f"the names of several losses must be strings; got {describe(name)}. Pass "
                    "{name: (weight, loss)}."
                )
        return WeightedSum(**term), 1.0
    weight, loss = checked_weight("its term", term), term[1]
    if isinstance(loss, WeightedSum):
        return loss, weight
    # Its class is its name, so that errors and the state_dict say what it is.
    terms: dict[str, Any] = {type(loss).__name__: (weight, loss)}
    return WeightedSum(**terms), 1.0
