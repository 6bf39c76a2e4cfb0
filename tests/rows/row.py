"""One row of the contract table: everything that the tests need to know of a loss.

The file also holds the backends and kernels that rows name, and helpers of several rows.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from packaging.version import Version
from torch import Tensor, nn

Options = dict[str, Any]
KERNELS: tuple[Options, ...] = (
    {"kernel": "linear"},
    {"kernel": "cosine"},
    {"kernel": "poly"},
    {"kernel": "l2"},
    {"kernel": "rbf"},
    {"kernel": "rbf", "gamma": "median"},
)
# The inputs are float64, which older programs for GPUs do not multiply.
NEW_TRITON = bool(find_spec("triton")) and Version(version("triton")) >= Version("3.5")
TRITON = ("triton",) if NEW_TRITON and not torch.cuda.is_available() else ()
DENSE = ("reference", "chunked")
RELATIVE = (*DENSE, *TRITON)
SCATTER = ("scatter",) if find_spec("torch_scatter") else ()


SEED = 5


def draw(n: int, count: int) -> Tensor:
    """The numbers that a loss with ``draws`` draws."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(SEED))[:count]


def usable(h: Any) -> bool:
    """Whether a loss can compute with the embeddings that a test passes."""
    matrix = isinstance(h, Tensor) and h.dim() == 2 and h.size(1) > 0
    return matrix and h.is_floating_point() and not h.is_sparse


def split(h: Any) -> list[Any]:
    """A matrix and its first columns as two layers; any other object twice."""
    if getattr(h, "is_sparse", True) or h.dim() != 2:
        return [h, h]
    return [h, h[:, : (h.size(1) + 1) // 2]]


def walks(h: Tensor, steps: int) -> Tensor:
    """For each node, itself and the nodes that follow it in the order of the first column.

    A new order of the nodes renumbers these walks too.
    """
    n = h.size(0)
    order = h[:, 0].argsort(stable=True)
    place = order.argsort().unsqueeze(1) + torch.arange(steps + 1, device=h.device)
    return order[place % max(n, 1)]


def _same(h_s: Any, h_t: Any) -> tuple[Any, Any]:
    return h_s, h_t


def _nothing(h_s: Any, h_t: Any) -> Options:
    return {}


@dataclass(frozen=True)
class Loss:
    """Everything that the tests need to know of a loss.

    The tests draw a student matrix, a teacher matrix and edges. A loss that takes more, or takes
    them in another form, says so by ``arrange`` and ``more``.
    """

    name: str
    module: type[nn.Module]
    function: Callable[..., Tensor]
    oracle: Callable[..., Tensor]
    variants: tuple[Options, ...] = ({},)
    """Options that change the formula; the function and the Module both take them."""
    backends: tuple[str, ...] = ()
    without_programs: frozenset[str] = frozenset()
    """Options that the backend of programs for GPUs does not have."""
    logits: bool = False
    edges: bool = False
    edges_only: bool = True
    """Whether edges alone give the value: it is 0 without, and the mean over their centres."""
    one_width: bool = False
    """Whether the function needs student and teacher of one width. A Module with heads does not."""
    scale_free: bool = False
    """Whether rows may be scaled: the loss normalises them, and a zero row has no gradient."""
    zero_at_self: bool = True
    bad_options: tuple[Options, ...] = ()
    arrange: Callable[[Any, Any], tuple[Any, Any]] = _same
    """Student and teacher in the form that the loss takes, such as a list of layers."""
    more: Callable[[Any, Any], Options] = _nothing
    """Further arguments of each call, made row by row from the two matrices, whatever these are.

    So the arguments follow a selection of rows and a new order of the nodes.
    """
    built_with: Options = field(default_factory=dict)
    """The arguments of the Module's constructor beside the widths and the options."""
    as_function: Options | None = None
    """The options with which the Module computes the same as the function; default: no heads."""
    module_only: frozenset[str] = frozenset()
    """Names that only the Module takes, beside the names for heads and the queue."""
    function_only: frozenset[str] = frozenset()
    """Names that only the function takes, because the Module holds these objects."""
    row_wise: bool = True
    """Whether the loss has one value per row: the function takes ``index`` and ``reduction``."""
    selects_first: bool = True
    """Whether ``index`` is the same as selecting rows of all inputs before the call."""
    of_seeds: bool = True
    """Whether a row needs only its neighbours: a batch of seeds with all their neighbours gives
    the whole graph's value on the seeds."""
    self_error: float = 0.0
    """How far from 0 the float32 loss of a representation against itself may be."""
    order_free: bool = True
    """Whether a new order of the nodes changes nothing."""
    draws: frozenset[str] = frozenset()
    """Options with which the loss draws rows; each call then draws by a new generator of one seed.

    ``draw`` gives the oracle the same numbers. A new order of the nodes changes the drawn rows.
    """
    masks_compile: bool = True
    """Whether a boolean index compiles: BatchNorm and sampled rows need a known row count."""
    poisonable: bool = True
    """Whether an infinite entry must show in the value."""
    counts: Callable[[Tensor, Tensor, Any], Tensor] | None = None
    """How much each row counts in the mean, such as its observed entries; default: as any other,
    and for edges alone only the rows with an edge into them."""
    edge_ratios: bool = False
    """Whether only the ratios of the weights of edges count, so that equal ones change nothing."""
    terms: Callable[..., list[tuple[Tensor, Tensor]]] | None = None
    """If the mean's divisor depends on options: each term's row values, whose mean is the term,
    and how much each row counts in it."""
    smooth: bool = True
    """Whether second derivatives exist and are checked."""

    @property
    def names(self) -> tuple[str, str]:
        return ("z_s", "z_t") if self.logits else ("h_s", "h_t")

    def backends_for(self, options: Options) -> tuple[str, ...]:
        """The backends that take these options."""
        if any(options.get(name) is not None for name in self.without_programs):
            return tuple(backend for backend in self.backends if backend != "triton")
        return self.backends

    @property
    def projects(self) -> bool:
        return "dim_s" in inspect.signature(self.module).parameters

    @property
    def dims(self) -> tuple[int, int]:
        """Two widths, which differ if the Module takes such a pair."""
        return (5, 5) if self.one_width and not self.projects else (5, 7)

    def build(self, dim_s: int = 5, dim_t: int = 7, **options: Any) -> nn.Module:
        options = {**self.built_with, **options}
        return self.module(dim_s, dim_t, **options) if self.projects else self.module(**options)

    def build_as_function(self, h_s: Tensor, h_t: Tensor, **options: Any) -> nn.Module:
        plain = self.as_function
        if plain is None:
            plain = {"head": "identity"} if self.projects else {}
        return self.build(h_s.size(1), h_t.size(1), **plain, **options)

    def call(self, h_s: Tensor, h_t: Tensor, edge_index: Any = None, **options: Any) -> Tensor:
        graph = (edge_index,) if self.edges else ()
        more = {**self.more(h_s, h_t), **self._seeded(options), **options}
        return self.function(*self.arrange(h_s, h_t), *graph, **more)

    def call_module(
        self, loss: nn.Module, h_s: Tensor, h_t: Tensor, edge_index: Any = None, **options: Any
    ) -> Tensor:
        graph = (edge_index,) if self.edges else ()
        takes = inspect.signature(self.module.forward).parameters
        more = {k: v for k, v in self.more(h_s, h_t).items() if k in takes}
        more.update(self._seeded(getattr(loss, "options", {})))
        return loss(*self.arrange(h_s, h_t), *graph, **{**more, **options})

    def rows(self, h_s: Tensor, h_t: Tensor, edge_index: Any = None, **options: Any) -> Tensor:
        """One value per row, or the value itself if the loss has none per row."""
        each = {"reduction": "none"} if self.row_wise else {}
        return self.call(h_s, h_t, edge_index, **options, **each)

    def counted(self, h_s: Tensor, h_t: Tensor, edge_index: Any) -> Tensor:
        """How much each row counts in the mean."""
        if self.counts is not None:
            return self.counts(h_s, h_t, edge_index)
        ones = h_s.detach().new_ones(h_s.size(0))
        if not (self.edges and self.edges_only):
            return ones
        return (ones * 0).index_fill(0, edge_index[1], 1)

    def _seeded(self, options: Options) -> Options:
        # torch.compile traces no new generator, and torch 2.6 no set.
        if torch.compiler.is_compiling():
            return {}
        draws = any(options.get(name) is not None for name in self.draws)
        return {"generator": torch.Generator().manual_seed(SEED)} if draws else {}

    def inputs(
        self,
        n: int = 9,
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
        dims: tuple[int, int] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A student that learns, a teacher, and edges; the function's widths unless given."""
        generator = torch.Generator().manual_seed(seed)
        same = self.one_width or self.logits
        dim_s, dim_t = dims or ((5, 5) if same else (5, 7))
        h_s = torch.randn(n, dim_s, generator=generator, dtype=torch.float64)
        h_t = torch.randn(n, dim_t, generator=generator, dtype=torch.float64)
        edge_index = torch.randint(0, max(n, 1), (2, 3 * n), generator=generator)
        return h_s.to(dtype).requires_grad_(), h_t.to(dtype), edge_index

    def expected(self, h_s: Tensor, h_t: Tensor, edge_index: Tensor, **options: Any) -> Tensor:
        """The oracle's row values, or its value."""
        graph = (edge_index,) if self.edges else ()
        return self.oracle(*self.arrange(h_s, h_t), *graph, **{**self.more(h_s, h_t), **options})
