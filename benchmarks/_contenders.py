"""The contenders for each loss: the library's own forms, the naive form, and other packages."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import naive
import torch
from _peers import INF_CL, INFO_NCE, METRIC_LEARNING, Contender, Forward, Inputs, Size, dense
from torch import Tensor

import graphkd.functional as G
from graphkd.functional._options import PairOptions
from graphkd.functional.contrast.gcrd import contrast

KERNELS = ("linear", "cosine", "poly", "l2", "rbf")
PRECISIONS = ("tf32", "bf16")


def _per_edge(size: Size) -> float:
    return 48 * size.edges * size.d


@dataclass(frozen=True)
class Loss:
    """A loss and its contenders.

    Work is the least that a step must do: floating-point operations of matrix products, or for
    ``bound="copy"`` bytes of gathered rows.
    """

    label: str
    ours: Callable[..., Tensor]
    naive: Callable[..., Tensor]
    work: Callable[[Size], float] | None = None
    counted: str = ""
    bound: str = "gemm"
    dtype: str = "float32"
    both_learn: bool = False
    naive_needs: Callable[[Size], float] = dense
    naive_most: float = math.inf
    """The N up to which the naive form is worth the wait."""
    others: dict[str, Contender] = field(default_factory=dict)
    precisions: tuple[str, ...] = ()
    """Of the products on a GPU, besides float32."""

    def contenders(self) -> dict[str, Contender]:
        everyone = {"ours": Contender(lambda x: lambda: self.ours(x))}
        for precision in self.precisions:
            everyone[f"ours, {precision}"] = Contender(
                lambda x, p=precision: lambda: self.ours(x, backend="triton", precision=p),
                package="triton",
                cuda_only=True,
            )
        if self.work:
            everyone["ours, triton"] = Contender(
                lambda x: lambda: self.ours(x, backend="triton"), package="triton", cuda_only=True
            )
        plain = self.naive
        everyone["naive"] = Contender(
            lambda x: lambda: plain(*x.plain), self.naive_needs, most=self.naive_most
        )
        everyone["naive, compiled"] = Contender(
            lambda x: functools.partial(torch.compile(plain, dynamic=False), *x.plain),
            self.naive_needs,
            most=self.naive_most,
        )
        return everyone | self.others


def _both(x: Inputs, *, temperature: float = naive.TEMPERATURE, **options: Any) -> Tensor:
    """G-CRD as GCRDLoss computes it from the outputs of its heads: both sides learn."""
    return contrast(
        x.h_s, x.h_t, None, None, temperature, False, None, None, None, PairOptions(**options)
    )


def _products(count: float) -> Callable[[Size], float]:
    return lambda size: count * 2 * size.n**2 * size.d


def _gcrd(x: Inputs, **options: Any) -> Tensor:
    return G.gcrd_loss(x.h_s, x.h_t, **options)


def _gcrd_symmetric(x: Inputs, **options: Any) -> Tensor:
    return G.gcrd_loss(x.h_s, x.h_t, symmetric=True, **options)


def _global_lsp(kernel: str) -> Loss:
    def ours(x: Inputs, **options: Any) -> Tensor:
        gamma = {"gamma": naive.rbf_gamma(x.h_s.size(1))} if kernel == "rbf" else {}
        return G.global_lsp_loss(x.h_s, x.h_t, kernel=kernel, **gamma, **options)

    def prepared(x: Inputs) -> Forward:
        teacher = G.precompute_global_lsp(x.h_t, kernel=kernel)
        return lambda: G.global_lsp_loss(x.h_s, teacher, kernel=kernel)

    moments = kernel in ("linear", "cosine")
    return Loss(
        f"Global LSP, {kernel}",
        ours,
        getattr(naive, f"global_lsp_{kernel}"),
        work=(lambda size: 10 * size.n * size.d**2) if moments else _products(3),
        counted="five products N × d × d" if moments else "three products N × N × d",
        naive_most=8192 if moments else 4096,
        dtype="float64" if kernel == "l2" else "float32",
        others={"ours, teacher precomputed": Contender(prepared)} if moments else {},
        precisions=PRECISIONS if kernel == "poly" else (),
    )


def _lsp(kernel: str) -> Loss:
    def options_for(x: Inputs) -> dict[str, Any]:
        gamma = {"gamma": naive.rbf_gamma(x.h_s.size(1))} if kernel == "rbf" else {}
        return {"kernel": kernel, **gamma}

    def ours(x: Inputs, **options: Any) -> Tensor:
        return G.lsp_loss(x.h_s, x.h_t, x.graph, **options_for(x), **options)

    def prepared(x: Inputs) -> Forward:
        teacher = G.precompute_lsp(x.h_t, x.graph, **options_for(x))
        return lambda: G.lsp_loss(x.h_s, teacher, x.graph, **options_for(x))

    others = {
        "ours, teacher precomputed": Contender(prepared),
        "ours, torch_scatter": Contender(
            lambda x: lambda: ours(x, backend="scatter"), package="torch_scatter"
        ),
    }
    if kernel == "cosine":
        others["naive, unit rows"] = Contender(
            lambda x: lambda: naive.lsp_unit_rows(*x.plain), _per_edge
        )
    return Loss(
        f"LSP, {kernel}",
        ours,
        getattr(naive, f"lsp_{kernel}"),
        work=lambda size: 16 * size.edges * size.d,
        counted="four reads of E rows",
        bound="copy",
        naive_needs=_per_edge,
        others=others,
    )


def _plain(label: str, ours: Callable[..., Tensor], form: Callable[..., Tensor]) -> Loss:
    return Loss(label, lambda x: ours(x.h_s, x.h_t), form, naive_needs=lambda size: 0.0)


def _kd(task: str) -> Callable[..., Tensor]:
    return functools.partial(G.kd_loss, task=task)


LOSSES: dict[str, Loss] = {
    "gcrd": Loss(
        "G-CRD", _gcrd, naive.gcrd, _products(2), "two products N × N × d",
        naive_most=8192, others=INFO_NCE | METRIC_LEARNING, precisions=PRECISIONS,
    ),
    "gcrd_both": Loss(
        "G-CRD, both sides learn", _both, naive.gcrd, _products(3), "three products N × N × d",
        naive_most=8192, both_learn=True, others=INFO_NCE | INF_CL, precisions=PRECISIONS,
    ),
    "gcrd_symmetric": Loss(
        "G-CRD, symmetric", _gcrd_symmetric, naive.gcrd_symmetric, _products(2),
        "two products N × N × d", naive_most=8192, precisions=PRECISIONS,
    ),
    **{f"global_lsp_{kernel}": _global_lsp(kernel) for kernel in KERNELS},
    **{f"lsp_{kernel}": _lsp(kernel) for kernel in KERNELS},
    "kd": _plain("KD", G.kd_loss, naive.kd),
    "kd_multilabel": _plain("KD, multilabel", _kd("multilabel"), naive.kd_multilabel),
    "kd_regression": _plain("KD, regression", _kd("regression"), naive.kd_regression),
    "fitnet": _plain("FitNet", G.fitnet_loss, naive.fitnet),
    "at": _plain("attention transfer", G.attention_transfer_loss, naive.attention_transfer),
}  # fmt: skip
