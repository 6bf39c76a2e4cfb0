"""CRD's banks: how entries move, which are kept and copied, and which a call leaves unchanged."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F

import graphkd
import graphkd.functional as G
from graphkd.similarity import unit_rows


def moving(**options) -> graphkd.CRDLoss:
    return graphkd.CRDLoss(5, 7, 20, 4, **options)


def test_entries_follow_their_rows_in_training_alone() -> None:
    loss, ids = moving(momentum=0.75), torch.tensor([4, 11, 2])
    h_s, h_t = torch.randn(3, 5, requires_grad=True), torch.randn(3, 7)
    before = {name: bank.clone() for name, bank in loss.named_buffers()}
    assert set(before) == {"bank_s", "bank_t"}
    for bank in before.values():
        torch.testing.assert_close(bank.norm(dim=1), torch.ones(20))
    loss.eval()(h_s, h_t, ids).backward()
    with torch.no_grad():
        loss.train()(h_s, h_t, ids)
    assert all(torch.equal(bank, before[name]) for name, bank in loss.named_buffers())
    value = loss(h_s, h_t, ids)
    torch.testing.assert_close(
        value,
        G.crd_loss(loss.head_s(h_s), loss.head_t(h_t), *before.values(), ids),
    )
    for name, head, h in (("bank_s", loss.head_s, h_s), ("bank_t", loss.head_t, h_t)):
        expected = before[name].clone()
        expected[ids] = F.normalize(0.75 * expected[ids] + 0.25 * F.normalize(head(h)))
        torch.testing.assert_close(getattr(loss, name), expected)
        assert not getattr(loss, name).requires_grad
    value.backward()  # the value used the entries before the update
    assert all(p.grad.abs().sum() > 0 for p in loss.parameters())


@pytest.mark.parametrize("backend", ["reference", "chunked"])
@pytest.mark.parametrize("num_negatives", [None, 6, 19])
def test_the_gradient_is_that_of_the_entries_before(backend: str, num_negatives) -> None:
    options = {"backend": backend, "num_negatives": num_negatives, "reduction": "none"}
    loss, ids = moving(**options).double(), torch.tensor([4, 11, 2])
    still = copy.deepcopy(loss).eval()
    h_s, h_t = torch.randn(3, 5).double().requires_grad_(), torch.randn(3, 7).double()
    weights, gradients = torch.rand(3).double(), []
    for module in (loss, still):
        rows = module(h_s, h_t, ids, generator=torch.Generator().manual_seed(0))
        gradients.append(torch.autograd.grad((rows * weights).sum(), h_s)[0])
    torch.testing.assert_close(*gradients)


def test_a_node_that_comes_twice_enters_by_its_mean_row() -> None:
    loss = graphkd.CRDLoss(3, 3, 6, head="identity", momentum=0.5)
    h = torch.randn(5, 3)
    old = loss.bank_s.clone()
    loss(h, h, torch.tensor([2, 0, 2, 5, 2]))
    units = F.normalize(h)
    for node, rows in ((2, [0, 2, 4]), (0, [1]), (5, [3])):
        torch.testing.assert_close(
            loss.bank_s[node], F.normalize((old[node] + units[rows].mean(dim=0)) / 2, dim=0)
        )
    assert torch.equal(loss.bank_s[[1, 3, 4]], old[[1, 3, 4]])


def test_bad_rows_do_not_spoil_the_banks() -> None:
    loss = graphkd.CRDLoss(3, 3, 6, head="identity", momentum=0.0)
    old = loss.bank_s.clone()
    h = torch.randn(4, 3)
    h[0], h[1, 2] = 0, torch.nan
    assert loss(h, h, torch.arange(4)).isnan()
    assert torch.equal(loss.bank_s[:2], old[:2])
    torch.testing.assert_close(loss.bank_s[2:4], F.normalize(h[2:]))
    assert torch.equal(loss.bank_s[4:], old[4:])


def test_index_moves_the_selected_rows_entries() -> None:
    loss = moving()
    old = loss.bank_s.clone()
    loss(torch.randn(20, 5), torch.randn(20, 7), index=torch.tensor([7, 1, 3]))
    assert (loss.bank_s != old).any(dim=1).nonzero().view(-1).tolist() == [1, 3, 7]


def test_copies_carry_the_banks() -> None:
    loss, ids = moving(), torch.arange(6)
    h_s, h_t = torch.randn(6, 5), torch.randn(6, 7)
    loss(h_s, h_t, ids)
    file = io.BytesIO()
    torch.save(loss.state_dict(), file)
    file.seek(0)
    loaded = moving()
    loaded.load_state_dict(torch.load(file))
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), loaded):
        assert torch.equal(other.bank_t, loss.bank_t)
        assert torch.equal(other.eval()(h_s, h_t, ids), loss.eval()(h_s, h_t, ids))
    old = loss.bank_s.clone()
    loss.reset_parameters()
    assert not torch.equal(loss.bank_s, old)
    torch.testing.assert_close(loss.bank_s.norm(dim=1), torch.ones(20))


def test_training_compiles_and_moves_the_same_entries() -> None:
    loss = moving()
    twin = copy.deepcopy(loss)
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (9, 12, 20):
        ids = torch.randint(0, 20, (n,))
        h_s, h_t = torch.randn(n, 5, requires_grad=True), torch.randn(n, 7)
        value, expected = compiled(h_s, h_t, ids), twin(h_s, h_t, ids)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(
            torch.autograd.grad(value, h_s), torch.autograd.grad(expected, h_s)
        )
        torch.testing.assert_close(loss.bank_s, twin.bank_s)


def test_compiled_code_reads_the_entries_as_they_were() -> None:
    """Inductor leaves out a clone of the banks: the backward pass would read moved entries."""
    loss = graphkd.CRDLoss(5, 5, 20, head="identity").double()  # few kernels to build
    compiled = torch.compile(copy.deepcopy(loss), fullgraph=True)
    h_s = torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    h_t, weight = torch.randn(9, 5).double(), torch.rand(9).double()
    found, expected = (
        torch.autograd.grad(one(h_s, h_t, torch.arange(9), weight=weight), h_s)
        for one in (compiled, loss)
    )
    torch.testing.assert_close(found, expected)


def test_one_node_has_no_negatives() -> None:
    loss = graphkd.CRDLoss(3, 3, 1, head="identity")
    h = torch.randn(1, 3, requires_grad=True)
    value = loss(h, h.detach())
    value.backward()
    assert value == 0
    assert (h.grad == 0).all()


def test_no_rows_move_nothing() -> None:
    loss = moving()
    old = loss.bank_s.clone()
    h = torch.randn(0, 5, requires_grad=True)
    value = loss(h, torch.randn(0, 7), torch.arange(0))
    value.backward()
    assert value == 0
    assert torch.equal(loss.bank_s, old)


def test_it_teaches_the_student_which_node_is_which() -> None:
    h_t = torch.randn(60, 8)
    student = torch.nn.Embedding(60, 6)
    loss = graphkd.CRDLoss(6, 8, 60, 16)
    optimizer = torch.optim.Adam([*student.parameters(), *loss.parameters()], lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        value = loss(student.weight, h_t)
        value.backward()
        optimizer.step()
    p, q = (unit_rows(h) for h in (loss.head_s(student.weight), loss.head_t(h_t)))
    assert (p @ q.T).argmax(dim=1).eq(torch.arange(60)).float().mean() > 0.95
