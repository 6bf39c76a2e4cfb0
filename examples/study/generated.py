"""Generated graphs: "Communities" and "Molecules" of the study are those of two other examples."""

import random

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.utils import degree, to_dense_adj, to_dense_batch, to_undirected


def communities() -> dict[str, list[Data]]:
    """Overlapping communities, as ../multilabel.py describes them: always the same 32 graphs."""
    generator = torch.Generator().manual_seed(0)
    projection = torch.randn(12, 50, generator=generator)
    pairs = torch.combinations(torch.arange(12)).t()[
        :, torch.randperm(66, generator=generator)[:30]
    ]
    graphs = [_graph(generator, projection, pairs) for _ in range(32)]
    return {"train": graphs[:20], "val": graphs[20:26], "test": graphs[26:]}


def _graph(generator: torch.Generator, projection: Tensor, pairs: Tensor) -> Data:
    member = torch.rand(200, projection.size(0), generator=generator) < 0.2
    y = (member[:, pairs[0]] ^ member[:, pairs[1]]).float()
    chance = (0.005 + 0.04 * (member.float() @ member.float().t())).triu(diagonal=1)
    edge_index = (torch.rand(chance.shape, generator=generator) < chance).nonzero().t()
    shown = member & (torch.rand(member.shape, generator=generator) < 0.7)
    noise = torch.randn(200, projection.size(1), generator=generator)
    x = shown.float() @ projection + noise
    return Data(x=x, y=y, edge_index=to_undirected(edge_index, num_nodes=200))


def molecules() -> dict[str, list[Data]]:
    """Graphs that look like molecules, as ../molecules.py describes them: always the same 2,500."""
    draw, generator = random.Random(0), torch.Generator().manual_seed(0)
    graphs = _labelled([_molecule(draw) for _ in range(2500)])
    for data in graphs[:1000]:
        data.y[torch.rand(data.y.shape, generator=generator) < 0.6] = torch.nan
    return {"train": graphs[:1000], "val": graphs[1000:1500], "test": graphs[1500:]}


def _molecule(draw: random.Random) -> Data:
    """Rings and single atoms, each joined to an earlier one. Atoms are 0 to 3 for C, N, O, F."""
    atoms, bonds = [], []
    for _ in range(draw.randint(4, 9)):
        first, size = len(atoms), draw.choice([1, 1, 1, 5, 6])
        atoms += draw.choices(range(4), (3, 2, 2, 2) if size == 1 else (8, 1, 1, 0), k=size)
        bonds += [(first + i, first + (i + 1) % size, 2) for i in range(size) if size > 1]
        if first:
            i, j = draw.randrange(first), draw.randrange(first, first + size)
            bonds.append((i, j, draw.choice([0, 0, 1])))  # single or double; rings have bonds 2
    bond = torch.tensor(bonds, dtype=torch.long).view(-1, 3)
    x = torch.tensor(atoms).view(-1, 1)
    return Data(x=x, edge_index=bond[:, :2].t(), edge_attr=bond[:, 2:])


def _labelled(graphs: list[Data]) -> list[Data]:
    """The graphs with each bond both ways, and labels, all at once: one by one takes longer."""
    batch = Batch.from_data_list(graphs)
    edge_index, bond = to_undirected(batch.edge_index, batch.edge_attr, num_nodes=batch.num_nodes)
    step = to_dense_adj(edge_index, batch.batch, bond.view(-1).ne(1).float())
    step = step + torch.eye(step.size(-1))
    apart = (step @ step @ step > 0) & (step @ step == 0)
    element, _ = to_dense_batch(F.one_hot(batch.x.view(-1), 4).float(), batch.batch)
    pairs = element.transpose(1, 2) @ apart.float() @ element  # of each two elements, in a graph
    y = pairs[:, [1, 2, 1], [2, 3, 3]].gt(0).float()
    sizes = degree(batch.batch[edge_index[0]], len(graphs), torch.long).tolist()
    pieces = zip(
        graphs, batch.ptr[:-1], edge_index.split(sizes, 1), bond.split(sizes), y, strict=True
    )
    # Each piece is a copy: a view would carry the tensor of all graphs along when it is copied.
    return [
        Data(x=graph.x, edge_index=edges - first, edge_attr=kinds.clone(), y=label[None].clone())
        for graph, first, edges, kinds, label in pieces
    ]
