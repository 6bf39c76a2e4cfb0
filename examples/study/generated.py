"""Generated graphs, as "Communities" in the study, and as what ../multilabel.py learns from."""

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected


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
