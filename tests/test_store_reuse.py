"""TeacherStore: which builds count as the same."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader as TorchLoader
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import APPNP, GCN

from graphkd import TeacherStore, freeze
from graphkd._store.fingerprints import (
    callable_fingerprint,
    graph_fingerprint,
    teacher_fingerprint,
)
from tests.store_loaders import gcn, karate, khop_batches, live
from tests.test_store_files import Counting, build, contents, stopped


def parts(seed: int = 0) -> list[Data]:
    return khop_batches(karate(seed), 8)


def whole(seed: int = 0) -> torch.Tensor:
    data = karate(seed)
    return live(gcn(), data.x, data.edge_index)[1]


@pytest.mark.parametrize("wrap", [list, tuple, iter])
def test_a_stopped_build_takes_no_rows_of_other_batches(tmp_path, wrap) -> None:
    stopped(tmp_path / "store")
    with pytest.warns(UserWarning, match="it is discarded"):
        store = build(tmp_path / "store", source=wrap(parts(seed=1)))
    torch.testing.assert_close(store[:].z, whole(seed=1))


def test_batches_that_can_only_be_iterated_over_are_never_taken_for_the_same(tmp_path) -> None:
    path = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt):
        build(path, Counting(stop_at=4), source=iter(parts()))
    forward = Counting()
    with pytest.warns(UserWarning, match="may be of other data; it is discarded"):
        build(path, forward, source=iter(parts()))
    assert forward.calls == 8
    with pytest.raises(ValueError, match=r"may be of other data.*overwrite=True"):
        build(path, Counting(), source=iter(parts(seed=1)))
    new = build(path, source=iter(parts(seed=1)), overwrite=True)
    torch.testing.assert_close(new[:].z, whole(seed=1))
    numbers = TorchLoader(range(8), collate_fn=lambda i: parts()[i[0]])
    assert build(tmp_path / "b", source=numbers).manifest["recipe"]["graph"] is None
    numbers = TorchLoader(list(range(8)), collate_fn=lambda i: parts()[i[0]])
    assert build(tmp_path / "c", source=numbers).manifest["recipe"]["graph"] is None


@pytest.mark.parametrize("change", ["x", "edge_index", "n_id", "batch_size", "one fewer"])
def test_a_list_with_another_batch_in_the_middle_is_another_one(tmp_path, change) -> None:
    path, other = tmp_path / "store", parts()
    build(path)
    if change == "one fewer":
        del other[4]
    elif change == "batch_size":
        other[4].batch_size -= 1
    elif change == "edge_index":
        other[4].edge_index = other[4].edge_index[:, 1:]
    else:
        other[4][change] = other[4][change].flip(0)
    with pytest.raises(ValueError, match="another list of batches"):
        build(path, source=other)


def test_ids_that_the_graph_carries_are_compared(tmp_path) -> None:
    data = karate()
    data.n_id = torch.arange(34)
    build(tmp_path / "store", source=data)
    data.n_id = data.n_id.flip(0)
    with pytest.raises(ValueError, match="another n_id"):
        build(tmp_path / "store", source=data)


def test_another_plain_attribute_or_module_is_another_teacher(tmp_path) -> None:
    relu, elu, tanh = (GCN(8, 16, 3, 4, act=act) for act in ("relu", "elu", torch.tanh))
    for other in (elu, tanh):
        other.load_state_dict(relu.state_dict())
    teachers = [relu, elu, tanh, APPNP(1, 0.1), APPNP(10, 0.1), APPNP(10, 0.5)]
    assert len({teacher_fingerprint(teacher) for teacher in teachers}) == 6
    data, options = karate(), {"tap": None}
    build(tmp_path / "store", source=data, teacher=teachers[3], **options)
    with pytest.raises(ValueError, match="another teacher"):
        build(tmp_path / "store", source=data, teacher=teachers[5], **options)


def test_running_and_freezing_a_teacher_does_not_change_what_it_is() -> None:
    data, teacher = karate(), GCN(8, 16, 3, 4, act=torch.tanh, cached=True, norm="batch_norm")
    before = teacher_fingerprint(teacher)
    teacher.eval()(data.x, data.edge_index)
    assert teacher_fingerprint(teacher) == before
    assert teacher_fingerprint(freeze(teacher)) == before


class Scaled:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, model: nn.Module, batch: Data) -> torch.Tensor:
        return self.factor * model(batch.x, batch.edge_index)


def scaled(model, batch, factor=1.0, *, shift=0.0):
    return factor * model(batch.x, batch.edge_index) + shift


def shifted(model, batch, factor=1.0):
    return factor + model(batch.x, batch.edge_index)


def chosen(model, batch):
    return model(batch.x, batch.edge_index) if model in {"one", "two", "three"} else None


def with_default(factor):
    return lambda model, batch, k=factor: k * model(batch.x, batch.edge_index)


def test_functions_that_differ_have_other_fingerprints() -> None:
    functions = [
        Scaled(1),
        Scaled(2),
        functools.partial(scaled, factor=1.0),
        functools.partial(scaled, factor=2.0),
        functools.partial(scaled, factor=2.0, shift=1.0),
        functools.partial(shifted, factor=2.0),
        scaled,
        with_default(1),
        with_default(2),
        torch.relu,
    ]
    prints = [callable_fingerprint(function) for function in functions]
    assert len(set(prints)) == len(functions)
    assert callable_fingerprint(Scaled(1)) == prints[0]
    assert callable_fingerprint(with_default(2)) == prints[8]


def test_fingerprints_are_the_same_in_every_process(capsys: pytest.CaptureFixture) -> None:
    script = (
        "import torch; from torch_geometric.nn import GCN; from tests.test_store_reuse import *; "
        "torch.manual_seed(0); teacher = GCN(8, 16, 3, 4, act=torch.tanh, norm='batch_norm'); "
        "print(teacher_fingerprint(teacher), [callable_fingerprint(f) for f in "
        "(chosen, Scaled(1), functools.partial(chosen, 2), functools.partial(scaled, teacher))], "
        "hash('a string'))"
    )
    exec(script, {})
    here, hashed_here = capsys.readouterr().out.rsplit(maxsplit=1)
    there, hashed_there = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.rsplit(maxsplit=1)
    assert hashed_here != hashed_there
    assert here == there


def test_every_tensor_that_a_teacher_may_read_is_in_the_graphs_fingerprint(tmp_path) -> None:
    data = karate()
    data.edge_weight, data.pos = torch.rand(data.num_edges), torch.rand(34, 3)
    store = build(tmp_path / "store", source=data)
    for name in ("x", "edge_weight", "pos"):
        other = data.clone()
        other[name] = other[name] + 1
        with pytest.raises(ValueError, match="another graph"):
            build(store.path, source=other)
        with pytest.raises(ValueError, match="features" if name == "x" else f"attribute {name}"):
            TeacherStore.open(store.path, other)
    same = data.clone()
    same.y, same.train_mask, same.test_mask = data.y + 1, ~data.train_mask, data.train_mask
    assert contents(build(store.path, source=same)) == contents(store)
    assert len(TeacherStore.open(store.path, Data(x=data.x, edge_index=data.edge_index))) == 34
    hetero = HeteroData()
    hetero["a"].x, hetero["a", "to", "a"].edge_index = torch.rand(3, 2), torch.ones(2, 4).long()
    before = graph_fingerprint(hetero)
    hetero["a", "to", "a"].edge_attr = torch.rand(4, 2)
    assert graph_fingerprint(hetero).keys() - before.keys() == {"attribute edge_attr a to a"}
