"""TeacherStore of teachers whose parameters and buffers are not plain dense tensors."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._shard import sharded_tensor
from torch.distributed._shard.sharding_spec import ChunkShardingSpec
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.masked import masked_tensor
from torch_geometric import EdgeIndex, Index
from torch_geometric.data import Data
from torch_geometric.nn import GAT, GCN

from graphkd._store import fingerprints
from graphkd._store.fingerprints import teacher_fingerprint
from tests.store_loaders import build, karate


class Subclass(Tensor):
    pass


class Wrapper(Tensor):
    """Has no storage of its own, like a tensor that another library packs."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Wrapper":
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    def __tensor_flatten__(self):
        return ["inner"], None

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return cls(args[0].inner) if function.name() == "aten::detach" else NotImplemented


class Sealed(Wrapper):
    __tensor_flatten__ = None


@pytest.fixture(scope="module")
def mesh() -> Iterator[object]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def _shards(x: Tensor) -> Tensor:
    found = sharded_tensor.zeros(ChunkShardingSpec(0, ["rank:0/cpu"]), *x.shape)
    found.local_shards()[0].tensor.copy_(x)
    return found


def _edges(x: Tensor) -> EdgeIndex:
    found = EdgeIndex(x.long(), sparse_size=(4, 4))
    found.sort_by("row").values.get_csr()  # fills its caches
    return found


SCALES, ZEROS = torch.tensor([0.1, 0.2]), torch.tensor([0, 1])
KINDS = {
    "coo": lambda x: x.to_sparse(),
    "uncoalesced": lambda x: torch.sparse_coo_tensor([[0, 0], [1, 1]], x[0], (2, 2)),
    "csr": lambda x: x.to_sparse_csr(),
    "csc": lambda x: x.to_sparse_csc(),
    "bsr": lambda x: x.to_sparse_bsr((1, 1)),
    "bsc": lambda x: x.to_sparse_bsc((1, 1)),
    "nested": lambda x: torch.nested.nested_tensor([x[0], x[1, :1]]),
    "jagged": lambda x: torch.nested.nested_tensor([x[0], x[1, :1]], layout=torch.jagged),
    "per tensor": lambda x: torch.quantize_per_tensor(x, 0.1, 3, torch.qint8),
    "per channel": lambda x: torch.quantize_per_channel(x, SCALES, ZEROS, 0, torch.qint8),
    "complex": lambda x: torch.complex(x, -x),
    "conjugate": lambda x: torch.complex(x, -x).conj(),
    "negative": lambda x: torch.complex(x, -x).conj().imag,
    "half": lambda x: x.bfloat16(),
    "eighth": lambda x: x.to(torch.float8_e4m3fn),
    "mkldnn": lambda x: x.to_mkldnn(),
    "masked": lambda x: masked_tensor(x, x > 0),
    "subclass": lambda x: x.as_subclass(Subclass),
    "wrapper": Wrapper,
    "edges": _edges,
    "index": lambda x: Index(x.view(-1).long()),
    "expanded": lambda x: x.unsqueeze(0).expand(3, 2, 2),
    "sharded": lambda x: distribute_tensor(x, init_device_mesh("cpu", (1,)), [Shard(0)]),
    "replicated": lambda x: distribute_tensor(x, init_device_mesh("cpu", (1,)), [Replicate()]),
    "shards": _shards,
}


def holding(buffer: Tensor) -> nn.Module:
    module = nn.Module()
    module.register_buffer("kept", buffer)
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_of_any_kind_is_told_from_another(mesh, kind) -> None:
    one, other = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([[1.0, 3.0], [3.0, 0.0]])
    found = [teacher_fingerprint(holding(KINDS[kind](x.clone()))) for x in (one, other, one)]
    assert found[0] != found[1]
    assert found[0] == found[2]


@pytest.mark.filterwarnings("ignore")
def test_quantised_layers_are_told_apart() -> None:
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        plain = nn.Sequential(nn.Linear(3, 2))
        layer = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear}, torch.qint8)
        found.append(teacher_fingerprint(layer))
    assert found[0] != found[1]


def test_a_plain_tensor_has_one_fingerprint_in_pieces_of_any_size(monkeypatch) -> None:
    buffers = [torch.randn(5, 3, 2), torch.randn(4, 1).expand(4, 6), torch.randn(6, 4).T]
    whole = [teacher_fingerprint(holding(buffer)) for buffer in buffers]
    assert whole[1:] == [teacher_fingerprint(holding(b.contiguous())) for b in buffers[1:]]
    for size in (1, 2, 4, 7):
        monkeypatch.setattr(fingerprints, "_CHUNK", size)
        assert [teacher_fingerprint(holding(buffer)) for buffer in buffers] == whole


def test_a_large_sparse_buffer_stays_sparse() -> None:
    """Dense, it would need 256 GiB."""
    size = 2**18
    ends = torch.arange(size)
    buffer = torch.sparse_coo_tensor(torch.stack([ends, ends]), torch.ones(size), (size, size))
    for layout in (buffer, buffer.to_sparse_csr()):
        teacher_fingerprint(holding(layout))


@pytest.mark.parametrize(
    ("buffer", "error", "message"),
    [
        (torch.empty(2, device="meta"), ValueError, "kept of the teacher has no value yet"),
        (Sealed(torch.ones(2)), TypeError, "kept of the teacher cannot be read.*a Sealed.*convert"),
    ],
)
def test_what_has_no_numbers_is_refused_by_name(buffer, error, message) -> None:
    with pytest.raises(error, match=message):
        teacher_fingerprint(holding(buffer))


def test_a_sharded_teacher_builds_a_store(tmp_path, mesh) -> None:
    teacher, data = nn.Sequential(nn.Linear(8, 5)), karate()
    expected = teacher(data.x).detach()

    def forward(model: nn.Module, batch: Data) -> Tensor:
        return model(distribute_tensor(batch.x, mesh, [Replicate()]))

    for parameter in ("weight", "bias"):
        shards = distribute_tensor(getattr(teacher[0], parameter).detach(), mesh, [Shard(0)])
        setattr(teacher[0], parameter, nn.Parameter(shards))
    store = build(tmp_path, teacher, data, tap=None, forward=forward)
    torch.testing.assert_close(store[:].z, expected)


def test_what_the_default_call_leaves_out_is_told(tmp_path) -> None:
    data = karate()
    data.edge_attr = torch.rand(data.num_edges, 3)
    teacher = GAT(data.num_features, 8, 2, 4, edge_dim=3).eval()
    with pytest.warns(UserWarning, match=r"have edge_attr, .* batch.edge_index, edge_attr=batch"):
        build(tmp_path / "without", teacher, data, tap="act")

    class OfBatch(nn.Module):
        def forward(self, batch: Data) -> Tensor:
            return batch.x

    with pytest.raises(TypeError, match=r"forward\(batch: .* Pass forward="):
        build(tmp_path / "other", OfBatch(), data, tap=None)


def test_a_layer_that_gives_the_logits_is_told(tmp_path, recwarn) -> None:
    teacher, data = GCN(8, 16, num_layers=2, out_channels=4), karate()
    with pytest.warns(UserWarning, match=r"'convs.1' gives the logits, so that h is z\. Pass tap="):
        assert build(tmp_path / "last", teacher, data).dim_h == 4
    recwarn.clear()
    assert build(tmp_path / "hidden", teacher, data, tap="act").dim_h == 16
    assert build(tmp_path / "logits", teacher, data, tap=None).dim_h is None
    assert not recwarn
