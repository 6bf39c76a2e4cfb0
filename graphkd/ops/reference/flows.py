"""The flow between two layers in its obvious form: an outer product for each node."""

import torch
from torch import Tensor


def flow_gap(a: Tensor, b: Tensor, t_a: Tensor, t_b: Tensor, graph: Tensor | None) -> Tensor:
    """Each graph's mean squared difference of the flows AᵀB / n of student and teacher.

    Args:
        a: The student's first layer.
        b: The student's second layer.
        t_a: The teacher's first layer, of the width of ``a``.
        t_b: The teacher's second layer, of the width of ``b``.
        graph: The number of each row's graph, below the number of rows; None means one graph.

    Returns:
        One value for each possible number of a graph; 0 if no graph has that number.
    """
    if graph is None:
        graph = torch.zeros_like(a[:, 0], dtype=torch.long)
    apart = torch.einsum("ik,il->ikl", a, b) - torch.einsum("ik,il->ikl", t_a, t_b)
    size = torch.zeros_like(graph).index_add(0, graph, torch.ones_like(graph)).clamp(min=1)
    flow = torch.zeros_like(apart).index_add(0, graph, apart) / size.view(-1, 1, 1)
    return flow.square().mean(dim=(1, 2))
