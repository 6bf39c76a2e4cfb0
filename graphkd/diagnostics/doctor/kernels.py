"""The check of kernels: similarities that are nearly all equal hold no structure to teach."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from graphkd._graph_formats import source_target
from graphkd._precision import upcast
from graphkd.diagnostics.doctor.call import Call, Term
from graphkd.diagnostics.doctor.finding import Finding
from graphkd.diagnostics.doctor.windows import Windows
from graphkd.losses.neighbours.gkd import GKDLoss
from graphkd.losses.neighbours.lsp import LSPLoss
from graphkd.losses.pairs.global_lsp import GlobalLSPLoss
from graphkd.similarity import KERNELS, Kernel, kernel_rows, median_gamma, row_statistic

# Values so close to their median count as equal to it, and this share of equal ones is too many.
NEAR, SHARE = 1e-3, 0.99
_PAIRS = 512


class SaturatedKernel:
    """Takes the kernel of LSP, Global LSP and GKD on a sample of the pairs that they compare."""

    def __init__(self) -> None:
        self._equal: dict[tuple[str, str, str], Windows] = {}

    def see(self, call: Call) -> None:
        """Compute the share of nearly equal kernel values, on both sides."""
        if not call.training:
            return
        for term in call.parts:
            if isinstance(term.loss, (LSPLoss, GlobalLSPLoss, GKDLoss)):
                for name in ("h_s", "h_t"):
                    values = _values(term, name, call.step)
                    if values is not None and values.numel() >= 16:
                        middle = values.median()
                        if not bool(middle.isfinite()):
                            continue
                        near = float(((values - middle).abs() <= NEAR).float().mean())
                        key = term.name, name, _kernel_name(term.loss)
                        windows = self._equal.setdefault(key, Windows())
                        windows.add(call.step, equal=near, middle=float(middle))

    def findings(self) -> Iterator[Finding]:
        """The kernel with the largest share of equal values in a window."""
        seen = [
            (window["equal"], window["middle"], *key)
            for key, windows in self._equal.items()
            for window in windows.means
        ]
        equal, middle, term, side, kernel = max(seen, default=(0.0, 0.0, "", "", ""))
        if equal > SHARE:
            yield Finding(
                "saturated-kernel",
                f"{equal:.1%} of the {kernel} kernel's values on {side} in {term} lie within "
                f"{NEAR:g} of {middle:.3g}: nearly all pairs look the same, and the loss has no "
                "structure to compare.",
                "For kernel='rbf', pass gamma='median', which follows the distances; for another "
                "kernel, take rows that differ: center them, tap an earlier layer, or use "
                "kernel='rbf', gamma='median'.",
            )


def _kernel_name(loss: nn.Module) -> str:
    kernel: Any = loss.kernel
    return f"{kernel}" if isinstance(kernel, str) else getattr(kernel, "__name__", "callable")


def _values(term: Term, name: str, seed: int) -> Tensor | None:
    """The kernel's values on some pairs of different nodes, of one side."""
    rows: Any = term.arguments.get(name)
    sides = rows if isinstance(rows, tuple) and len(rows) == 2 else (rows, rows)
    if not all(isinstance(h, Tensor) and h.dim() == 2 for h in sides):
        return None  # what precompute made has no rows
    loss: Any = term.loss
    kernel: Any = KERNELS.get(loss.kernel, loss.kernel)
    if isinstance(loss, GKDLoss) and loss.kernel != "rbf":
        return None  # its sigmoid is meant to saturate for wide rows
    generator = torch.Generator("cpu").manual_seed(seed)
    src, dst = (upcast(h.detach()) for h in sides)
    if isinstance(loss, LSPLoss):
        graph = term.arguments.get("edge_index")
        edges: Any = getattr(graph, "edges", None)
        ends = edges[:2] if edges is not None else source_target(graph, src.size(0), dst.size(0))
        at = torch.randint(max(ends[0].numel(), 1), (_PAIRS,), generator=generator, device="cpu")
        at = at[: ends[0].numel()].to(src.device)
        i, j = (end[at].long() for end in ends)
    else:
        index = term.arguments.get("index")
        if isinstance(index, Tensor) and isinstance(loss, GlobalLSPLoss):
            src = dst = src[index]
        draw = torch.randint(max(src.size(0), 1), (2, _PAIRS), generator=generator, device="cpu")
        i, j = draw[:, : src.size(0) ** 2].to(src.device)
    if sides[0] is sides[1]:
        i, j = i[i != j], j[i != j]
    if not i.numel():
        return None
    with torch.no_grad():
        if not isinstance(kernel, Kernel):
            values: Tensor = kernel(src[i], dst[j])
            return values
        x, y = kernel_rows(kernel, src[i]), kernel_rows(kernel, dst[j])
        statistic = row_statistic(kernel, x, y)
        gamma: Any = getattr(loss, "gamma", 0.0)
        if gamma == "median":
            gamma = median_gamma(statistic.sqrt().median())
        values = kernel.value(statistic, gamma)
        if isinstance(loss, LSPLoss):
            return values  # of a softmax: differences count
        scale = values.square().mean().sqrt() if not (kernel.unit or kernel.name == "rbf") else 1.0
        return values / scale
