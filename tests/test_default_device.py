"""A default device that is not the inputs': every tensor is made on the device of the inputs.

``meta`` stands for a GPU: what is made there by mistake cannot meet a tensor on the CPU. The
contract table tries this on every loss; here are the rest, and the rule.
"""

import ast
import pickle
from pathlib import Path

import torch
from torch.utils._device import _device_constructors

import graphkd
import graphkd.functional as G
from graphkd import TeacherStore
from tests.contract import Loss, every
from tests.store_loaders import check, gcn, karate, khop_batches, live
from tests.test_store_files import Counting, build, stopped

# Parameters and buffers of a Module lie on the default device, as those of torch's own Modules do.
OF_MODULES = {"__init__", "_first_entries"}


def test_every_factory_names_its_device() -> None:
    factories = {f"torch.{factory.__name__}" for factory in _device_constructors()}
    unnamed = []
    for file in Path(graphkd.__file__).parent.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        makers = [n for n in nodes if isinstance(n, ast.FunctionDef) and n.name in OF_MODULES]
        allowed = {inner for maker in makers for inner in ast.walk(maker)}
        unnamed += [
            f"{file.name}:{node.lineno}"
            for node in nodes
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) in factories
            and all(keyword.arg != "device" for keyword in node.keywords)
            and node not in allowed
        ]
    assert not unnamed


def test_the_store(tmp_path) -> None:
    data, teacher = karate(), gcn()
    h, z = live(teacher, data.x, data.edge_index)
    sources, some = (data, khop_batches(data, 8)), khop_batches(data)[:1]
    stopped(tmp_path / "1")
    ids = torch.tensor([33, 0, 7])
    with torch.device("meta"):
        for number, source in enumerate(sources):
            forward = Counting()
            store = build(tmp_path / str(number), forward, source, teacher)
            assert forward.calls == (1, 4)[number]  # the second was stopped after four of eight
            for request in (ids, ids.int(), data.train_mask, slice(30, 2, -3), 5):
                assert store[request].z.device == ids.device
            store.verify()
            check(pickle.loads(pickle.dumps(store)), h, z)
        check(TeacherStore.open(store.path, num_nodes=34), h, z, ids)
        few = build(tmp_path / "few", source=some, teacher=teacher)
        check(few, h, z, some[0].n_id[: some[0].batch_size])


def test_functions_beside_the_losses() -> None:
    generator = torch.Generator().manual_seed(0)
    r, draws = torch.rand(500, generator=generator), torch.rand(500, generator=generator)
    z_t = torch.tensor([[1.0, 0.0]]).expand(500, 2)
    z_s = torch.where((draws < 1 - (1 - r) ** 3)[:, None], z_t, -z_t)
    edges = torch.randint(9, (2, 27), generator=generator)
    adj_t = torch.sparse_coo_tensor(edges.flip(0), torch.ones(27), (9, 9))

    def results() -> list[torch.Tensor]:
        drawn = torch.Generator().manual_seed(1)
        graphs = [graphkd.Graph(e, 9).edge_index for e in (edges, adj_t, adj_t.to_sparse_csr())]
        batches = graphkd.rows_of(edges[0, :1], torch.unique(edges[0]))
        walks = G.random_walks(edges, 9, starts=edges[0], generator=drawn)
        contexts = G.link_context(edges, 9, anchors=edges[0], generator=drawn)
        power = G.fit_reliability_power(z_s, z_t, r, momentum=0.0)
        measured = torch.tensor(power, device="cpu")
        return [*graphs, batches, walks, *contexts, measured]

    expected = results()
    with torch.device("meta"):
        found = results()
    assert all(map(torch.equal, found, expected))


@every(where=lambda loss: loss.name != "simkd")  # it is given a part of the teacher
def test_a_module_can_be_made_without_memory(loss: Loss, options: dict) -> None:
    with torch.device("meta"):
        module = loss.build(*loss.dims, **options)
    assert type(module).__name__ in repr(module)
    assert all(value.is_meta for value in module.state_dict().values() if value.numel() > 1)


def test_whether_a_paraphraser_is_trained_is_saved() -> None:
    loss = graphkd.FactorTransferLoss(3, 3)
    loss.freeze_paraphraser()
    with torch.device("meta"):
        state = loss.state_dict()
    loss.load_state_dict(state)
    assert loss.pretrained
