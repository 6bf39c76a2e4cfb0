"""The queue of teacher keys: which keys a row sees, when keys enter, and which leave."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import graphkd
from tests.contract import RELATIVE
from tests.oracles._shared import unit
from tests.oracles.contrast.gcrd import gcrd


class Book:
    """The queue as a list of places, filled key by key."""

    def __init__(self, size: int) -> None:
        self.places: list[tuple[int, Tensor] | None] = [None] * size
        self.oldest = 0

    def others(self, ids: list[int]) -> list[Tensor]:
        return [place[1] for place in self.places if place and place[0] not in ids]

    def put(self, ids: list[int], keys: Tensor) -> None:
        held = {place[0]: k for k, place in enumerate(self.places) if place}
        kept = {held[i] for i in ids if i in held}
        for i, key in zip(ids, keys, strict=True):
            if i in held:
                self.places[held[i]] = (i, unit(key))
                continue
            while self.oldest in kept:
                self.oldest = (self.oldest + 1) % len(self.places)
            self.places[self.oldest] = (i, unit(key))
            self.oldest = (self.oldest + 1) % len(self.places)


def identity(size: int | None, **options) -> graphkd.GCRDLoss:
    return graphkd.GCRDLoss(4, 4, head="identity", queue_size=size, **options)


def rows(n: int, width: int = 4) -> tuple[Tensor, Tensor]:
    h_s, h_t = torch.randn(2, n, width, dtype=torch.float64).unbind()
    return h_s.requires_grad_(), h_t


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 12),
    st.lists(st.lists(st.integers(0, 20), max_size=6, unique=True), min_size=1, max_size=8),
)
def test_a_row_sees_the_latest_key_of_each_other_node(size: int, batches: list[list[int]]) -> None:
    loss, book = identity(size), Book(size)
    for ids in batches:
        h_s, h_t = rows(len(ids))
        value = loss(h_s, h_t, ids=torch.tensor(ids, dtype=torch.long))
        if ids:
            wanted = gcrd(h_s, h_t, extra_keys=torch.stack(others) if (others := book.others(ids))
                          else None)  # fmt: skip
            torch.testing.assert_close(value, wanted.mean())
        else:
            assert value == 0
        book.put(ids[-size:], h_t[-size:])
        held = {place[0] for place in book.places if place}
        assert set(loss.queue.ids[loss.queue.ids >= 0].tolist()) == held


@pytest.mark.parametrize("backend", RELATIVE)
@pytest.mark.parametrize("symmetric", [False, True])
def test_backends_and_gradients(backend: str, symmetric: bool) -> None:
    loss = identity(6, backend=backend, symmetric=symmetric, reduction="none")
    first, (h_s, h_t) = rows(5), rows(4)
    loss(*first, ids=torch.tensor([5, 7, 2, 9, 30]))
    values = loss(h_s, h_t, ids=torch.tensor([0, 9, 1, 2]))
    wanted = gcrd(h_s, h_t, extra_keys=first[1][[0, 1, 4]], symmetric=symmetric)
    torch.testing.assert_close(values, wanted)
    weights = torch.rand(4, dtype=torch.float64)
    torch.testing.assert_close(
        torch.autograd.grad((values * weights).sum(), h_s),
        torch.autograd.grad((wanted * weights).sum(), h_s),
    )


@pytest.mark.parametrize("head", ["linear", "mlp", "gcn", "identity", "pair"])
def test_every_head_projects_the_keys(head: str) -> None:
    pair = (nn.Linear(4, 3), nn.Linear(4, 3))
    spec = pair if head == "pair" else head
    loss = graphkd.GCRDLoss(4, 4, 3, head=spec, queue_size=9).double()
    edges = (torch.randint(0, 6, (2, 12)),) if head == "gcn" else ()
    h_s, h_t = rows(6)
    loss(h_s, h_t, *edges, ids=torch.arange(6))
    _, q, _ = copy.deepcopy(loss).projected(h_s, h_t, *(edges or (None,)), None)
    keys = loss.queue.keys[loss.queue.ids >= 0]
    torch.testing.assert_close(keys, torch.stack([unit(row) for row in q]).detach())
    assert not loss.queue.keys.requires_grad
    later = loss(h_s, h_t, *edges, ids=torch.arange(10, 16))
    later.backward()
    for parameter in loss.parameters():
        assert parameter.grad is not None
    plain = copy.deepcopy(loss)
    plain.queue.reset()
    assert later > plain(h_s, h_t, *edges, ids=torch.arange(10, 16))


def test_the_same_batch_again_has_no_negatives_but_itself() -> None:
    loss, (h_s, h_t), ids = identity(20), rows(6), torch.arange(6)
    alone = identity(None)(h_s, h_t)
    assert loss(h_s, h_t, ids=ids) == alone  # it starts empty
    assert loss(h_s, h_t, ids=ids.flip(0)) == alone


def test_keys_enter_in_training_with_gradients_only() -> None:
    loss, (h_s, h_t), ids = identity(20), rows(6), torch.arange(6)
    loss.eval()(h_s, h_t, ids=ids)
    with torch.no_grad():
        loss.train()(h_s, h_t, ids=ids)
    assert (loss.queue.ids == -1).all()
    loss(h_s, h_t, ids=ids)
    before = loss.eval()(h_s, h_t, ids=ids + 100)
    torch.testing.assert_close(before, gcrd(h_s, h_t, extra_keys=h_t).mean())


def test_index_selects_the_ids_of_its_rows() -> None:
    loss, (h_s, h_t), n_id = identity(20), rows(6), torch.tensor([40, 7, 3, 99, 5, 0])
    index = torch.tensor([4, 0])
    loss(h_s, h_t, index=index, ids=n_id)
    assert loss.queue.ids[:3].tolist() == [5, 40, -1]
    loss(h_s, h_t, index=n_id == 99, ids=n_id.int())
    assert loss.queue.ids[:4].tolist() == [5, 40, 99, -1]


def test_more_keys_than_room_keep_the_last() -> None:
    loss, (h_s, h_t) = identity(4), rows(6)
    loss(h_s, h_t, ids=torch.arange(6))
    assert sorted(loss.queue.ids.tolist()) == [2, 3, 4, 5]


def test_extra_keys_come_on_top() -> None:
    loss, (h_s, h_t), more = identity(20), rows(6), torch.randn(3, 4, dtype=torch.float64)
    loss(h_s, h_t, ids=torch.arange(6))
    value = loss(h_s, h_t, ids=torch.arange(6, 12), extra_keys=more)
    wanted = gcrd(h_s, h_t, extra_keys=torch.cat([h_t, more])).mean()
    torch.testing.assert_close(value, wanted)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_spoilt_batch_spoils_no_later_one(bad: float) -> None:
    loss, (h_s, h_t), ids = identity(20), rows(6), torch.arange(6)
    spoilt = h_t.clone()
    spoilt[2, 1] = bad
    assert loss(h_s, spoilt, ids=ids).isnan()
    value = loss(h_s, h_t, ids=ids + 10)
    wanted = gcrd(h_s, h_t, extra_keys=h_t[[0, 1, 3, 4, 5]]).mean()
    torch.testing.assert_close(value, wanted)


def test_state_dict_copies_and_pickles_go_on_to_the_same_numbers() -> None:
    loss = graphkd.GCRDLoss(4, 4, 3, head="linear", queue_size=9).double()
    loss(*rows(6), ids=torch.arange(6))
    fresh = graphkd.GCRDLoss(4, 4, 3, head="linear", queue_size=9).double()
    fresh.load_state_dict(loss.state_dict())
    others = [fresh, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))]
    for step in range(3):
        h_s, h_t = rows(6)
        ids = torch.arange(4 * step, 4 * step + 6)
        value = loss(h_s, h_t, ids=ids)
        assert all(other(h_s, h_t, ids=ids) == value for other in others)
    loss.reset_parameters()
    assert (loss.queue.ids == -1).all()


def test_float64_keys_resume_to_the_same_numbers() -> None:
    """The queue starts in float32, and takes the dtype of the keys that enter."""
    loss, fresh, first, second = identity(9), identity(9), rows(6), rows(6)
    loss(*first, ids=torch.arange(6))
    fresh.load_state_dict(loss.state_dict())
    assert fresh(*second, ids=torch.arange(6, 12)) == loss(*second, ids=torch.arange(6, 12))


def test_extra_keys_are_checked_with_a_queue_too() -> None:
    loss, (h_s, h_t), ids = identity(9), rows(6), torch.arange(6)
    loss(h_s, h_t, ids=ids)
    for wrong, error in ((h_t.long(), TypeError), (h_t[:, :3], ValueError), ([1.0], TypeError)):
        with pytest.raises(error, match="extra_keys"):
            loss(h_s, h_t, ids=ids + 10, extra_keys=wrong)


def test_weighted_sum_hands_the_ids_on() -> None:
    loss = identity(20)
    objective = graphkd.WeightedSum(gcrd=(1.0, loss), kd=(1.0, graphkd.KDLoss()))
    h_s, h_t = rows(6)
    objective(h_s=h_s, h_t=h_t, z_s=h_s, z_t=h_t, ids=torch.arange(6))
    assert (loss.queue.ids >= 0).sum() == 6


def test_compiles() -> None:
    torch._dynamo.reset()
    loss, twin = identity(20), identity(20)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for step in range(4):
        h_s, h_t = rows(6)
        ids = torch.arange(6) + 4 * step
        torch.testing.assert_close(compiled(h_s, h_t, ids=ids), twin(h_s, h_t, ids=ids))
    assert torch.equal(loss.queue.ids, twin.queue.ids)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        ({}, TypeError, "got None"),
        ({"ids": torch.arange(6.0)}, TypeError, r"int64 tensor \[N\] of node ids"),
        ({"ids": torch.arange(5)}, ValueError, r"shape \(6,\)"),
        ({"ids": torch.arange(3), "index": torch.arange(3)}, ValueError, "also where index"),
        ({"ids": torch.tensor([0, 1, 2, 3, 4, 2])}, ValueError, "node 2 comes twice"),
        ({"ids": torch.arange(6) - 1}, ValueError, "must not be negative; got -1"),
        ({"ids": torch.arange(6), "labels": torch.arange(6)}, ValueError, "Leave queue_size out"),
    ],
)
def test_wrong_calls(call: dict, error: type[Exception], says: str) -> None:
    h_s, h_t = rows(6)
    with pytest.raises(error, match=says):
        identity(20)(h_s, h_t, **call)


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="queue_size must be at least 1"):
        identity(0)
    with pytest.raises(TypeError, match="queue_size must be an integer"):
        identity(2.5)
    with pytest.raises(ValueError, match="Leave one out"):
        identity(20, max_samples=8)
    pair = graphkd.GCRDLoss(4, 4, head=(nn.Linear(4, 3), nn.Linear(4, 3)), queue_size=9).double()
    with pytest.raises(ValueError, match="Pass proj_dim=3"):
        pair(*rows(6), ids=torch.arange(6))
