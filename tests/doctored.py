"""Small runs for the tests of the doctor: a graph of blocks, a student, a teacher, and faults."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphkd.diagnostics import Doctor

NODES, CLASSES, WIDTH = 240, 4, 8


class Data(NamedTuple):
    x: Tensor
    y: Tensor
    edge_index: Tensor
    train: Tensor


class Net(nn.Module):
    """A linear layer, optionally averaged over the neighbours, ReLU, and a linear layer."""

    def __init__(self, inputs: int, width: int, data: Data | None = None) -> None:
        super().__init__()
        self.body, self.out = nn.Linear(inputs, width), nn.Linear(width, CLASSES)
        self.dropout, self.data = nn.Dropout(0.3), data

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        if self.data is not None:
            src, dst = self.data.edge_index
            count = torch.ones(NODES).index_add(0, dst, torch.ones(src.numel()))
            h = h.index_add(0, dst, h[src]) / count[:, None]
        h = self.dropout(F.leaky_relu(h))
        return h, self.out(h)


def blocks(seed: int = 0) -> Data:
    """Nodes of four classes in a random order, joined to eight each, mostly of their class."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (NODES,), generator=g)
    x = torch.randn(CLASSES, 12, generator=g)[y] + torch.randn(NODES, 12, generator=g)
    src = torch.randint(NODES, (24 * NODES,), generator=g)
    dst = torch.arange(NODES).repeat_interleave(24)
    kept = (y[src] == y[dst]) | (torch.rand(src.shape, generator=g) < 0.1)
    kept &= src != dst
    edges = torch.stack([src[kept], dst[kept]])
    return Data(x, y, edges, torch.rand(NODES, generator=g) < 0.3)


def trained(data: Data, width: int = 16, steps: int = 60) -> nn.Module:
    """A teacher that knows the labels of the training nodes."""
    torch.manual_seed(1)
    teacher = Net(data.x.size(1), width, data)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(teacher(data.x)[1][data.train], data.y[data.train]).backward()
        optimizer.step()
    return teacher.eval().requires_grad_(False)


def distilled(
    objective: nn.Module,
    data: Data,
    teacher: nn.Module,
    *,
    steps: int = 40,
    every: int = 1,
    outer: float = 1.0,
    lr: float = 0.01,
    heads: bool = True,
    change: Callable[..., Any] = lambda *tensors: tensors,
    arguments: Callable[..., dict[str, Any]] | None = None,
    **more: Any,
) -> Doctor:
    """A run under a doctor. ``change`` makes new h_s, z_s, h_t and z_t of those of a step."""
    torch.manual_seed(2)
    student = Net(data.x.size(1), WIDTH)
    parameters = [*student.parameters(), *(objective.parameters() if heads else [])]
    optimizer = torch.optim.Adam(parameters, lr=lr)
    doctor = Doctor(
        objective, student=student, teacher=teacher, optimizer=optimizer, every=every
    ).train()
    for _ in range(steps):
        h_s, z_s = student(data.x)
        with torch.no_grad():
            h_t, z_t = teacher(data.x)
        h_s, z_s, h_t, z_t = change(h_s, z_s, h_t, z_t)
        task = F.cross_entropy(z_s[data.train], data.y[data.train])
        named = {"h_s": h_s, "h_t": h_t, "z_s": z_s, "z_t": z_t, "edge_index": data.edge_index}
        given = named if arguments is None else arguments(**named)
        result = doctor(**given, **{"task_loss": task, **more})
        total = result[0] if isinstance(result, tuple) else result
        optimizer.zero_grad()
        (task + outer * total).backward()
        optimizer.step()
    return doctor


def codes(doctor: Doctor) -> list[str]:
    """The codes of the findings."""
    return [finding.code for finding in doctor.findings()]
