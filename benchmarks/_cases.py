"""What is measured: the sections of the speed benchmark, their sizes, and the targets."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from _contenders import LOSSES
from _peers import Inputs, Size
from torch import Tensor

import graphkd

ARXIV_NODES, ARXIV_EDGES = 169_343, 2_332_486


@dataclass(frozen=True)
class Case:
    """One loss at one size.

    Targets: ``speed`` is how many times faster than naive, ``memory`` the part of naive's memory,
    ``peak`` the part of the same run's GEMM rate, ``extra_mib`` memory beyond the gradient.
    """

    loss: str
    n: int
    d: int
    edges: int = 0
    compiled: bool = True
    wall: bool = False
    threads: int = 1
    seconds: float = 3.0
    target: dict[str, float] = field(default_factory=dict)

    @property
    def size(self) -> Size:
        return Size(self.n, self.d, self.edges)

    @property
    def where(self) -> str:
        edges = f", E = {self.edges:,}" if self.edges else ""
        return f"{LOSSES[self.loss].label}, N = {self.n:,}{edges}, d = {self.d}"


def _against_n(
    loss: str,
    d: int,
    sizes: Iterable[int],
    targets: dict[int, dict[str, float]],
    compiled: set[int],
) -> list[Case]:
    return [Case(loss, n, d, target=targets.get(n, {}), compiled=n in compiled) for n in sizes]


SECTIONS: dict[str, list[Case]] = {
    "gcrd": _against_n(
        "gcrd", 256, (256, 512, 1024, 2048, 4096, 8192, 16384),
        {8192: {"speed": 1.7, "peak": 0.75, "memory": 0.08}}, {512, 2048, 8192},
    ),
    "gcrd_both": _against_n(
        "gcrd_both", 256, (512, 2048, 8192),
        {8192: {"speed": 1.4, "peak": 0.75, "memory": 0.10}}, {512, 2048, 8192},
    ),
    "gcrd_symmetric": _against_n(
        "gcrd_symmetric", 256, (512, 2048, 8192, 16384), {}, {512, 2048}
    ),
    "global_lsp_cosine": [
        *_against_n(
            "global_lsp_cosine", 128, (1024, 4096, 8192, 32768, ARXIV_NODES),
            {8192: {"speed": 40, "memory": 0.05}}, {1024, 4096, 8192},
        ),
        Case("global_lsp_cosine", ARXIV_NODES, 256, target={"peak": 0.5, "extra_mib": 40}),
    ],
    "global_lsp_poly": _against_n(
        "global_lsp_poly", 128, (1024, 2048, 4096, 8192, 16384),
        {4096: {"speed": 3, "memory": 0.10}}, {1024, 4096},
    ),
    "global_lsp_rbf": _against_n(
        "global_lsp_rbf", 128, (1024, 2048, 4096, 8192, 16384),
        {4096: {"speed": 4, "memory": 0.10}}, {1024, 4096},
    ),
    "global_lsp_l2": _against_n(
        "global_lsp_l2", 128, (1024, 2048, 4096, 8192), {}, {1024, 4096}
    ),
    "lsp_cosine": [
        Case("lsp_cosine", 6_000, 128, 60_000),
        Case("lsp_cosine", 20_000, 128, 200_000, compiled=False),
        Case("lsp_cosine", 60_000, 128, 600_000, target={"speed": 12, "memory": 0.15}),
        Case("lsp_cosine", ARXIV_NODES, 128, ARXIV_EDGES, compiled=False,
             target={"speed": 15, "memory": 0.05}),
    ],
    # Logits: d is the number of classes.
    "kd": [
        Case(loss, n, classes, compiled=False, target={"speed": 0.9 if n > 256 else 0.7})
        for loss in ("kd", "kd_multilabel", "kd_regression")
        for n in (256, 1024, 2048, 20_000, ARXIV_NODES)
        for classes in (40, 128)
    ],
    "small": [
        Case(loss, n, 128, 10 * n if loss.startswith("lsp") else 0, compiled=False, wall=True,
             threads=2, seconds=0.6)
        for loss in LOSSES
        for n in (256, 512, 1024, 2048)
    ],
}  # fmt: skip


def quick(cases: list[Case]) -> list[Case]:
    """A smoke run's cases: the section's losses at its smallest size, at most 256."""
    least = min(case.n for case in cases)
    return [
        replace(
            case, n=min(least, 256), d=64, edges=min(case.edges, 5_000), seconds=0.1, target={},
            compiled=case.loss == "gcrd" and not case.wall,
        )
        for case in cases
        if case.n == least
    ]  # fmt: skip


def power_law_edges(n: int, edges: int, generator: torch.Generator) -> Tensor:
    """Edges with both ends drawn with weights rank^-0.7; each node's rank is random, too."""
    weights = torch.arange(1, n + 1, dtype=torch.float64) ** -0.7
    ends = torch.multinomial(weights, 2 * edges, replacement=True, generator=generator)
    return torch.randperm(n, generator=generator)[ends].view(2, edges)


def draw(case: Case, device: str) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    h_s, h_t = (torch.randn(case.n, case.d, generator=generator).to(device) for _ in range(2))
    h_s.requires_grad_()
    h_t.requires_grad_(LOSSES[case.loss].both_learn)
    if not case.edges:
        return Inputs(h_s, h_t)
    edge_index = power_law_edges(case.n, case.edges, generator).to(device)
    return Inputs(h_s, h_t, edge_index, graphkd.Graph(edge_index, case.n))
