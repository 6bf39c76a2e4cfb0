"""Random walks, and contexts of nodes from them."""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_count, check_node_ids
from graphkd.functional._rows import check_generator
from graphkd.graph import Graph


def random_walks(
    edge_index: Any,
    num_nodes: int,
    starts: Tensor | None = None,
    *,
    length: int = 15,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""One random walk from each start, along the edges; it stays at a node without an edge out.

    Each step is uniform over the edges out of a node; duplicates count as often as they occur. It
    needs none of PyG's optional packages.

    Args:
        edge_index: The edges, in any format that :class:`graphkd.Graph` takes, or a Graph.
        num_nodes: The number of nodes.
        starts: The first node of each walk. Default: all nodes.
        length: The number of steps.
        generator: Source of randomness; default: torch's global one.

    Shapes:
        - **edge_index:** :math:`[2, E]`
        - **starts:** :math:`[M]`
        - **output:** :math:`[M, length + 1]`, the starts first

    Raises:
        ValueError: If a shape or option is out of range.
        TypeError: If the graph has no known format, or an argument has the wrong type.
        IndexError: If an edge or a start names a node that does not exist.

    Example:
        >>> import torch
        >>> from graphkd.functional import random_walks
        >>> ring = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> random_walks(ring, 3, length=4)
        tensor([[0, 1, 2, 0, 1],
                [1, 2, 0, 1, 2],
                [2, 0, 1, 2, 0]])
    """
    name = "random_walks"
    check_count(f"{name}: length", length, least=1)
    graph, starts = _read(name, edge_index, num_nodes, starts, "starts")
    edges = graph.edges
    begin, degree = edges.src_ptr[:-1], edges.src_ptr.diff()
    ends = edges.dst.index_select(0, edges.order)
    nodes = [starts]
    for _ in range(length):
        here = nodes[-1]
        choices = degree.index_select(0, here)
        # In float64, the product with a whole number below 2^53 stays below that number.
        draw = _uniform(here.shape, generator, here.device)
        place = begin.index_select(0, here) + (draw * choices).long()
        if ends.numel():
            onward = ends.index_select(0, place.clamp(max=ends.numel() - 1))
            here = torch.where(choices > 0, onward, here)
        nodes.append(here)
    return torch.stack(nodes, dim=1)


def link_context(
    edge_index: Any,
    num_nodes: int,
    anchors: Tensor | None = None,
    *,
    num_walks: int = 3,
    walk_length: int = 2,
    num_random: int = 6,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""The contexts of LLP: nearby nodes from random walks, and random nodes.

    A nearby node may occur several times, or be the anchor. Random nodes are uniform over all.
    The defaults come from the authors' code. Draw new contexts in every step.

    Args:
        edge_index: The edges, in any format that :class:`graphkd.Graph` takes, or a Graph.
        num_nodes: The number of nodes.
        anchors: The nodes that get a context. Default: all.
        num_walks: The number of walks from each anchor.
        walk_length: The number of steps of a walk; every node on the way joins the context.
        num_random: The number of random nodes for each anchor.
        generator: Source of randomness; default: torch's global one.

    Shapes:
        - **edge_index:** :math:`[2, E]`
        - **anchors:** :math:`[M]`
        - **output:** :math:`[M, num\_walks \cdot walk\_length + num\_random]`

    Raises:
        ValueError: If a shape or option is out of range.
        TypeError: If the graph has no known format, or an argument has the wrong type.
        IndexError: If an edge or an anchor names a node that does not exist.

    Example:
        >>> import torch
        >>> from graphkd.functional import link_context
        >>> ring = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> link_context(ring, 3, num_walks=2, num_random=0)
        tensor([[1, 2, 1, 2],
                [2, 0, 2, 0],
                [0, 1, 0, 1]])
    """
    name = "link_context"
    for option, value in {"num_walks": num_walks, "num_random": num_random}.items():
        check_count(f"{name}: {option}", value, least=0)
    check_count(f"{name}: walk_length", walk_length, least=1)
    graph, anchors = _read(name, edge_index, num_nodes, anchors, "anchors")
    count = anchors.numel()
    starts = anchors.repeat_interleave(num_walks)
    walks = random_walks(graph, num_nodes, starts, length=walk_length, generator=generator)
    near = walks[:, 1:].reshape(count, num_walks * walk_length)
    anywhere = (_uniform((count, num_random), generator, anchors.device) * num_nodes).long()
    return torch.cat([near, anywhere], dim=1)


def _read(
    name: str, edge_index: Any, num_nodes: int, nodes: Tensor | None, what: str
) -> tuple[Graph, Tensor]:
    """The graph, and the given nodes; all nodes by default."""
    check_count(f"{name}: num_nodes", num_nodes, least=0)
    graph = edge_index if isinstance(edge_index, Graph) else Graph(edge_index, num_nodes)
    if (graph.num_src, graph.num_dst) != (num_nodes, num_nodes):
        raise ValueError(
            f"{name}: the graph has {graph.num_src} source and {graph.num_dst} target nodes, not "
            f"num_nodes={num_nodes} of both. Pass a graph of one set of nodes."
        )
    every = torch.arange(num_nodes, device=graph.edges.src.device)
    if nodes is None:
        return graph, every
    check_node_ids(name, what, nodes, every, 1, "Convert a mask by .nonzero().view(-1).")
    return graph, nodes.long()


def _uniform(
    shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device
) -> Tensor:
    check_generator(generator)
    at = device if generator is None else generator.device
    return torch.rand(shape, generator=generator, device=at, dtype=torch.float64).to(device)
