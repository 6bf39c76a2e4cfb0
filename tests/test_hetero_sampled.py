"""A sampled heterogeneous batch with a fan-out of -1 gives the full graph's values on its seeds."""

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.loader import NeighborLoader
from torch_geometric.nn import HeteroConv, SAGEConv

from graphkd import FitNetLoss, GCRDLoss, HeteroLoss, KDLoss, LSPLoss, rows_of

NODES = {"paper": 60, "author": 40, "field": 9}
WRITES, CITES = ("author", "writes", "paper"), ("paper", "cites", "paper")
TOPIC, WRITTEN = ("field", "topic_of", "paper"), ("paper", "written_by", "author")
SEEDS = torch.tensor([41, 3, 17, 8, 59])
HOPS = 2


def graph() -> HeteroData:
    data = HeteroData()
    for name, count in NODES.items():
        data[name].x = torch.randn(count, 4, dtype=torch.float64)
        data[name].n_id = torch.arange(count)
    for (src, relation, dst), count in {WRITES: 90, CITES: 100, TOPIC: 70, WRITTEN: 90}.items():
        ends = [torch.randint(NODES[name], (count,)) for name in (src, dst)]
        data[src, relation, dst].edge_index = torch.stack(ends).unique(dim=1)
    return data


class Relational(nn.Module):
    """Two rounds over each relation; gives the hidden states and the papers' logits."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            HeteroConv({kind: SAGEConv(size, width) for kind in (WRITES, CITES, TOPIC, WRITTEN)})
            for size in (4, width)
        )
        self.field = nn.ModuleList(nn.Linear(size, width) for size in (4, width))
        self.out = nn.Linear(width, 3)
        self.double()

    def forward(self, data: HeteroData) -> tuple[dict[str, Tensor], Tensor]:
        h = data.x_dict
        for conv, field in zip(self.convs, self.field, strict=True):
            out = {**conv(h, data.edge_index_dict), "field": field(h["field"])}
            h = {name: out[name].tanh() for name in NODES}
        return h, self.out(h["paper"])


def closure(data: HeteroData, seeds: dict[str, Tensor], hops: int) -> HeteroData:
    """All in-neighbours of the seeds, hop by hop, by plain torch; each type's rows shuffled."""
    inside = {name: torch.zeros(count, dtype=torch.bool) for name, count in NODES.items()}
    for name, ids in seeds.items():
        inside[name][ids] = True
    for _ in range(hops):
        reached = {name: mask.clone() for name, mask in inside.items()}
        for (src, _, dst), edges in data.edge_index_dict.items():
            reached[src][edges[0][inside[dst][edges[1]]]] = True
        inside = reached
    batch, place = HeteroData(), {}
    for name, mask in inside.items():
        n_id = mask.nonzero().view(-1)
        n_id = n_id[torch.randperm(n_id.numel())]
        batch[name].x, batch[name].n_id = data[name].x[n_id], n_id
        place[name] = torch.full_like(mask, -1, dtype=torch.long)
        place[name][n_id] = torch.arange(n_id.numel())
    for (src, relation, dst), edges in data.edge_index_dict.items():
        ends = torch.stack([place[src][edges[0]], place[dst][edges[1]]])
        batch[src, relation, dst].edge_index = ends[:, (ends >= 0).all(dim=0)]
    return batch


def check_seeds(data: HeteroData, batch: HeteroData, seeds: dict[str, Tensor]) -> None:
    """Values, and gradients of student and heads, equal the full graph's on the seeds."""
    terms = {
        "paper": {"gcrd": (0.1, GCRDLoss(5, 7, 6)), "kd": (1.0, KDLoss())},
        WRITES: (10.0, LSPLoss()),
        CITES: (10.0, LSPLoss("l2")),
        TOPIC: (10.0, LSPLoss("rbf")),
        "author": (1.0, FitNetLoss(5, 7)),
        WRITTEN: (10.0, LSPLoss()),
    }
    objective = HeteroLoss({k: v for k, v in terms.items() if k in seeds or k[2] in seeds})
    objective, student = objective.double(), Relational(5)
    with torch.no_grad():
        h_t, z_t = Relational(7)(data)
    results = []
    for part in (data, batch):
        # The seeds are found by id, never assumed to be first.
        index = {name: rows_of(ids, part[name].n_id) for name, ids in seeds.items()}
        h_s, z_s = student(part)
        total, parts = objective(
            h_s,
            {name: h[part[name].n_id] for name, h in h_t.items()},
            part.edge_index_dict,
            z_s={"paper": z_s},
            z_t={"paper": z_t[part["paper"].n_id]},
            index_dict=index,
        )
        learned = [*student.parameters(), *objective.parameters()]
        gradients = torch.autograd.grad(total, learned, allow_unused=True, materialize_grads=True)
        results.append((total, parts, gradients))
    torch.testing.assert_close(*results)
    assert all(parts[edge_type] > 0 for edge_type in parts if isinstance(edge_type, tuple))


def test_closure_of_seeds_of_two_types() -> None:
    data = graph()
    seeds = {"paper": SEEDS, "author": data[WRITTEN].edge_index[1].unique()[:4]}
    # One hop more than the student has: the neighbours that LSP compares need their neighbours.
    check_seeds(data, closure(data, seeds, hops=HOPS + 1), seeds)


def test_fewer_hops_are_not_enough() -> None:
    data, seeds = graph(), {"paper": SEEDS}
    with pytest.raises(AssertionError):
        check_seeds(data, closure(data, seeds, hops=HOPS), seeds)


@pytest.mark.sampler
@pytest.mark.filterwarnings("ignore:Using 'NeighborSampler' without")
def test_neighbor_loader() -> None:
    data = graph()
    loader = NeighborLoader(
        data, [-1] * (HOPS + 1), input_nodes=("paper", SEEDS), batch_size=SEEDS.numel()
    )
    (batch,) = loader
    check_seeds(data, batch, {"paper": SEEDS})


@pytest.mark.sampler
@pytest.mark.filterwarnings("ignore:Using 'NeighborSampler' without")
def test_what_a_loader_says_of_each_type() -> None:
    """All types are there, some empty; only the input type has `input_id` and `batch_size`."""
    data = graph()
    loader = NeighborLoader(data, [-1], input_nodes=("author", torch.tensor([7, 2])), batch_size=2)
    batch = next(iter(loader))
    assert batch.metadata() == data.metadata()
    assert batch["author"].n_id[: batch["author"].batch_size].tolist() == [7, 2]
    assert batch["author"].input_id.tolist() == [0, 1]  # places in input_nodes, not node ids
    assert all("n_id" in batch[name] for name in NODES)
    assert not any("batch_size" in batch[name] for name in ("paper", "field"))
    assert batch["field"].num_nodes == batch[TOPIC].num_edges == 0
    objective = HeteroLoss({TOPIC: (1.0, LSPLoss()), WRITTEN: (1.0, LSPLoss())}).double()
    _, parts = objective(batch.x_dict, batch.x_dict, batch.edge_index_dict)
    assert parts[TOPIC] == 0
