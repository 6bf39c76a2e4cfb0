"""The contract table: one row per loss. Whatever a test asks of all losses, it asks of each row.

A new loss is one more row here and one oracle; it then inherits every check.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import graphkd
import graphkd.functional as G
from tests import oracles

Options = dict[str, Any]
KERNELS: tuple[Options, ...] = (
    {"kernel": "linear"},
    {"kernel": "cosine"},
    {"kernel": "poly"},
    {"kernel": "l2"},
    {"kernel": "rbf"},
    {"kernel": "rbf", "gamma": "median"},
)
TRITON = ("triton",) if find_spec("triton") and not torch.cuda.is_available() else ()
RELATIVE = ("reference", "chunked", *TRITON)
SCATTER = ("scatter",) if find_spec("torch_scatter") else ()


@dataclass(frozen=True)
class Loss:
    """What the tests need to know of a loss."""

    name: str
    module: type[nn.Module]
    function: Callable[..., Tensor]
    oracle: Callable[..., Tensor]
    variants: tuple[Options, ...] = ({},)
    """Options that change the formula; the function and the Module both take them."""
    backends: tuple[str, ...] = ()
    logits: bool = False
    edges: bool = False
    one_width: bool = False
    """Whether the function needs student and teacher of one width (the Module projects)."""
    scale_free: bool = False
    """Whether rows may be scaled: they are normalised, and a zero row has no gradient."""
    zero_at_self: bool = True
    bad_options: tuple[Options, ...] = ()

    @property
    def names(self) -> tuple[str, str]:
        return ("z_s", "z_t") if self.logits else ("h_s", "h_t")

    @property
    def projects(self) -> bool:
        return "dim_s" in inspect.signature(self.module).parameters

    def build(self, dim_s: int = 5, dim_t: int = 7, **options: Any) -> nn.Module:
        if self.projects:
            return self.module(dim_s, dim_t, **options)
        return self.module(**options)

    def call(self, h_s: Tensor, h_t: Tensor, edge_index: Any = None, **options: Any) -> Tensor:
        graph = (edge_index,) if self.edges else ()
        return self.function(h_s, h_t, *graph, **options)

    def call_module(self, loss: nn.Module, h_s: Tensor, h_t: Tensor, edge_index: Any, **kw: Any):
        return loss(h_s, h_t, edge_index, **kw) if self.edges else loss(h_s, h_t, **kw)

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
        """The oracle's row values."""
        graph = (edge_index,) if self.edges else ()
        return self.oracle(h_s, h_t, *graph, **options)


LOSSES = (
    Loss(
        "gcrd",
        graphkd.GCRDLoss,
        G.gcrd_loss,
        oracles.gcrd,
        variants=({}, {"symmetric": True}, {"temperature": 0.5}),
        backends=RELATIVE,
        one_width=True,
        scale_free=True,
        zero_at_self=False,
        bad_options=(
            {"temperature": 0.0},
            {"temperature": -1.0},
            {"temperature": float("nan")},
            {"temperature": float("inf")},
            {"max_samples": 1},
            {"max_samples": 8, "reduction": "none"},
        ),
    ),
    Loss(
        "lsp",
        graphkd.LSPLoss,
        G.lsp_loss,
        oracles.lsp,
        variants=tuple(
            {**kernel, "divergence": divergence}
            for kernel in KERNELS
            for divergence in ("kl", "mse")
        ),
        backends=(*RELATIVE, *SCATTER),
        edges=True,
        bad_options=(
            {"kernel": "gauss"},
            {"divergence": "js"},
            {"gamma": 1.0},
            {"kernel": "rbf", "gamma": 0.0},
            {"kernel": "rbf", "gamma": "mean"},
        ),
    ),
    Loss(
        "global_lsp",
        graphkd.GlobalLSPLoss,
        G.global_lsp_loss,
        oracles.global_lsp,
        variants=KERNELS,
        backends=RELATIVE,
        bad_options=({"kernel": "gauss"}, {"kernel": "rbf", "gamma": -1.0}, {"max_samples": 0}),
    ),
    Loss(
        "kd",
        graphkd.KDLoss,
        G.kd_loss,
        oracles.kd,
        variants=({}, {"temperature": 1.0}, {"task": "multilabel"}, {"task": "regression"}),
        logits=True,
        bad_options=(
            {"temperature": 0.0},
            {"temperature": float("nan")},
            {"task": "ranking"},
            {"task": "regression", "temperature": 4.0},
        ),
    ),
    Loss(
        "fitnet",
        graphkd.FitNetLoss,
        G.fitnet_loss,
        oracles.fitnet,
        one_width=True,
        scale_free=True,
    ),
    Loss(
        "attention_transfer",
        graphkd.AttentionTransferLoss,
        G.attention_transfer_loss,
        oracles.attention_transfer,
    ),
)


def _label(options: Options) -> str:
    return "-".join(str(value) for value in options.values()) or "default"


def every(*, variants: bool = False, backends: bool = False, where: Any = None) -> Any:
    """Parametrize over the rows of the table, and over their variants and backends if asked."""
    cases = []
    for loss in LOSSES:
        if where is not None and not where(loss):
            continue
        for variant in loss.variants if variants else loss.variants[:1]:
            for backend in (loss.backends or (None,)) if backends else (None,):
                options = dict(variant, **({"backend": backend} if backend else {}))
                cases.append(pytest.param(loss, options, id=f"{loss.name}-{_label(options)}"))
    return pytest.mark.parametrize(("loss", "options"), cases)


DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
