"""A model whose layer's output something changes in place."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A layer, what changes its output in place, and a layer after it."""

    def __init__(self, change: Callable[[Any], Tensor], make: Callable = lambda h: h) -> None:
        super().__init__()
        self.lin, self.out = nn.Linear(4, 4), nn.Linear(4, 2)
        self.layer = Layer(self.lin, make)
        self.change = change

    def forward(self, x: Tensor, edge_index: Tensor | None = None) -> Tensor:
        return self.out(self.change(self.layer(x)))


class Layer(nn.Module):
    def __init__(self, lin: nn.Linear, make: Callable) -> None:
        super().__init__()
        self.lin, self.make = lin, make

    def forward(self, x: Tensor) -> Any:
        return self.make(self.lin(x))
