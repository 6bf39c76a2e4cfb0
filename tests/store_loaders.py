"""Graphs, teachers and loaders that need no installed sampler."""

import torch
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData
from torch_geometric.datasets import KarateClub
from torch_geometric.loader.node_loader import NodeLoader
from torch_geometric.nn import GCN, HeteroConv, SAGEConv
from torch_geometric.sampler import BaseSampler, HeteroSamplerOutput, SamplerOutput
from torch_geometric.utils import k_hop_subgraph

from graphkd import TeacherStore


def build(path, teacher, source, dtype=torch.float32, **options) -> TeacherStore:
    return TeacherStore.build(
        path / "store", teacher, source, dtype=dtype, progress=False, **options
    )


def check(store: TeacherStore, h, z, ids=slice(None)) -> None:
    rows = store[ids]
    torch.testing.assert_close(rows.h, h[ids])
    torch.testing.assert_close(rows.z, z[ids])


def karate(seed: int = 0) -> Data:
    data = KarateClub()[0]
    data.x = torch.randn(34, 8, generator=torch.Generator().manual_seed(seed))
    return data


def gcn(seed: int = 0) -> GCN:
    torch.manual_seed(seed)
    return GCN(8, 16, num_layers=3, out_channels=4, dropout=0.5, norm="batch_norm")


def live(teacher: nn.Module, *inputs: Tensor, tap: str = "convs.1") -> tuple[Tensor, Tensor]:
    """h and z of the live teacher by a hook of its own, in eval mode."""
    teacher.eval()
    kept = []
    handle = teacher.get_submodule(tap).register_forward_hook(lambda m, i, o: kept.append(o))
    with torch.no_grad():
        z = teacher(*inputs)
    handle.remove()
    return kept[0], z


def khop_batches(data: Data, parts: int = 4, seed: int = 1, hops: int = 4) -> list[Data]:
    """Batches in the form of a NeighborLoader, with the seeds in random order.

    GCNConv divides by the degrees of neighbours, so that three layers need four hops.
    """
    order = torch.randperm(data.num_nodes, generator=torch.Generator().manual_seed(seed))
    batches = []
    for seeds in order.tensor_split(parts):
        n_id, edge_index, mapping, _ = k_hop_subgraph(
            seeds, hops, data.edge_index, relabel_nodes=True
        )
        seeds_first = torch.cat([mapping, _others(mapping, len(n_id))])
        place = torch.empty_like(n_id)
        place[seeds_first] = torch.arange(len(n_id))
        n_id = n_id[seeds_first]
        batches.append(
            Data(x=data.x[n_id], edge_index=place[edge_index], n_id=n_id, batch_size=len(seeds))
        )
    return batches


def _others(rows: Tensor, count: int) -> Tensor:
    mask = torch.ones(count, dtype=torch.bool)
    mask[rows] = False
    return mask.nonzero()[:, 0]


class WholeGraphSampler(BaseSampler):
    """Samples every node and edge, the seeds first, like a fan-out of -1 and many hops."""

    def __init__(self, data: Data | HeteroData) -> None:
        super().__init__()
        self.data = data

    def sample_from_nodes(self, index, **kwargs):
        def nodes(kind, count: int) -> Tensor:
            seeds = index.node if kind == index.input_type else index.node[:0]
            return torch.cat([seeds, _others(seeds, count)])

        def local(ids: Tensor, at: Tensor) -> Tensor:
            place = torch.empty_like(ids)
            place[ids] = torch.arange(len(ids))
            return place[at]

        metadata = (index.input_id, index.time)
        if isinstance(self.data, Data):
            n_id = nodes(None, self.data.num_nodes)
            row, col = local(n_id, self.data.edge_index)
            return SamplerOutput(n_id, row, col, None, metadata=metadata)
        n_id = {kind: nodes(kind, self.data[kind].num_nodes) for kind in self.data.node_types}
        row, col = {}, {}
        for kind in self.data.edge_types:
            src, dst = self.data[kind].edge_index
            row[kind], col[kind] = local(n_id[kind[0]], src), local(n_id[kind[2]], dst)
        return HeteroSamplerOutput(n_id, row, col, {}, metadata=metadata)

    def sample_from_edges(self, index, **kwargs):
        raise NotImplementedError

    @property
    def edge_permutation(self) -> None:
        return None


def node_loader(data: Data | HeteroData, input_nodes=None, **options) -> NodeLoader:
    return NodeLoader(data, WholeGraphSampler(data), input_nodes, batch_size=5, **options)


def academic(papers: int = 12) -> HeteroData:
    torch.manual_seed(0)
    data = HeteroData()
    data["paper"].x, data["author"].x = torch.randn(papers, 8), torch.randn(7, 8)
    data["author", "writes", "paper"].edge_index = torch.stack(
        [torch.randint(7, (30,)), torch.randint(papers, (30,))]
    )
    data["paper", "by", "author"].edge_index = data["author", "writes", "paper"].edge_index.flip(0)
    return data


class HeteroTeacher(nn.Module):
    """Returns logits by node type, or for papers only."""

    def __init__(self, data: HeteroData, only_papers: bool = False) -> None:
        super().__init__()
        self.conv = HeteroConv({kind: SAGEConv((8, 8), 16) for kind in data.edge_types})
        self.out, self.only_papers = nn.Linear(16, 3), only_papers

    def forward(self, x_dict, edge_index_dict):
        h = self.conv(x_dict, edge_index_dict)
        z = {kind: self.out(rows.relu()) for kind, rows in h.items()}
        return z["paper"] if self.only_papers else z
