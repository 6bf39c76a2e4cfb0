"""Slips of ordinary users: each message names the slip and the remedy."""

import re
import warnings
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot
from torch.utils.checkpoint import checkpoint
from torch_geometric.data import Batch, Data, HeteroData

import graphkd.functional as G
from graphkd import (
    CRDLoss,
    FitNetLoss,
    GCRDLoss,
    HeteroLoss,
    KDLoss,
    LSPLoss,
    TeacherStore,
    WeightedSum,
)

N = 9
H, T, WIDE = torch.randn(N, 5, requires_grad=True), torch.randn(N, 5), torch.randn(N, 7)
Z_S, Z_T = torch.randn(N, 4, requires_grad=True), torch.randn(N, 4)
EDGES, Y, MASK = torch.randint(0, N, (2, 20)), torch.arange(N) % 4, torch.arange(N) < 4
DATA = Data(x=T, edge_index=EDGES)
HETERO = HeteroData({"a": {"x": T}, ("a", "to", "a"): {"edge_index": EDGES}})
ADJ = namedtuple("Adj", ["adj_t", "e_id", "size"])(EDGES, None, (N, N))
SAMPLED = namedtuple("EdgeIndex", ["edge_index", "e_id", "size"])(EDGES, None, (N, N))
LINEAR = {"tap": None, "forward": lambda model, batch: model(batch.x), "progress": False}


def slip(error, words: str, call, *args, **options) -> None:
    with pytest.raises(error, match=re.escape(words).replace(r"\.\.\.", ".*")):
        call(*args, **options)


@pytest.mark.parametrize(("index", "error", "remedy"), [
    (MASK.long(), ValueError, "all 0 or 1, for 9 rows: a mask as integers. Call .bool()"),
    (MASK.int(), ValueError, "all 0 or 1"),
    (torch.zeros(20, dtype=torch.long), ValueError, "(20,) that are all 0 or 1, for 9 rows"),
    (torch.zeros(20) > 0, IndexError, "mask[batch.n_id]"),
    (MASK[:, None], IndexError, "Call .view(-1)"),
    (MASK[:, None].expand(N, 10), IndexError, "mask[:, 0]"),
    (MASK.nonzero(), ValueError, "Call .view(-1)"),
    (MASK.nonzero(as_tuple=True), TypeError, "Pass its only element"),
    (4, TypeError, "got 4 (int). For the first rows, the seeds of a batch, pass torch.arange(4)"),
    (slice(0, 4), TypeError, "Pass torch.arange(start, stop)"),
    (np.arange(4), TypeError, "ndarray of shape (4,). Convert it with torch.as_tensor"),
    ("train", TypeError, "Pass data.train_mask"),
])  # fmt: skip
def test_index(index, error: type[Exception], remedy: str) -> None:
    slip(error, remedy, G.fitnet_loss, H, T, index=index)
    slip(error, remedy, G.lsp_loss, H, T, EDGES, index=index)


def test_zeros_and_ones_that_are_row_numbers() -> None:
    for n, numbers in (
        (1, [0]),
        (2, [0, 1]),
        (2, [1, 0]),
        (2, [1, 1, 0]),
        (3, [0, 1]),
        (9, [1, 0]),
    ):
        index = torch.tensor(numbers)
        rows = G.fitnet_loss(H[:n], T[:n], index=index, reduction="none")
        torch.testing.assert_close(rows, G.fitnet_loss(H[index], T[index], reduction="none"))
    assert G.fitnet_loss(H[:0], T[:0], index=torch.zeros(0, dtype=torch.long)) == 0


@pytest.mark.parametrize(("edges", "remedy"), [
    (DATA, "got Data. Pass its edge_index"),
    (Batch.from_data_list([DATA]), "got DataBatch. Pass its edge_index"),
    (SAMPLED, "got EdgeIndex. Pass its edge_index"),
    (ADJ, "got Adj. Pass its adj_t"),
    ([SAMPLED], "Pass one element"),
    (HETERO, "got HeteroData. Edges by type are for HeteroLoss"),
    ({("a", "to", "a"): EDGES}, "got dict. Edges by type are for HeteroLoss"),
    ((EDGES, torch.ones(20)), "Pass its first element"),
    ((EDGES[0], EDGES[1]), "torch.stack([src, dst])"),
    (EDGES.tolist(), "Convert it with torch.as_tensor"),
    (EDGES.numpy(), "Convert it with torch.as_tensor"),
    (torch.ones(N, N).long(), "dense_to_sparse"),
])  # fmt: skip
def test_edges(edges, remedy: str) -> None:
    slip((TypeError, ValueError), remedy, G.lsp_loss, H, T, edges)


@pytest.mark.parametrize(("h", "remedy"), [
    (DATA, "got Data. Pass the embeddings that the model returns for it"),
    (HETERO, "got HeteroData. Pass the embeddings that the model returns for it"),
    (nn.Linear(5, 5), "got Linear. Call it, and pass the embeddings that it returns"),
    (nn.Linear, "got the class Linear. Call it"),
    (G.kd_loss, "got the function kd_loss. Call it"),
    ([T, T], "It holds 2 tensors: several layers or teachers are for LayerwiseLoss"),
    ({"paper": T}, "It holds 1 tensor:...node types for HeteroLoss"),
    (T.numpy(), "ndarray of shape (9, 5). Convert it with torch.as_tensor"),
    (None, "got None (NoneType). Pass the embeddings themselves"),
    (MASK, "If it is a mask of rows, pass it as index="),
    (EDGES, "If these are edges, pass them as edge_index="),
    (Y, "If these are labels or row numbers, they belong in another argument"),
])  # fmt: skip
def test_embeddings(h, remedy: str) -> None:
    slip(TypeError, remedy, G.gcrd_loss, H, h)


@pytest.mark.parametrize("loss", [G.kd_loss, G.dist_loss, KDLoss(task="multilabel")])
def test_labels_given_as_logits(loss) -> None:
    for labels in (Y, Y[:, None], one_hot(Y, 4)):
        slip(TypeError, "labels, they belong into the task's own loss", loss, Z_S, labels)
    slip(ValueError, "Labels belong into the task's own loss", loss, Z_S, Y.float())


def test_labels_of_another_form() -> None:
    for loss, name in ((G.dkd_loss, "y"), (G.gcrd_loss, "labels")):
        for y, remedy in (
            (Y[:, None], "shape (9, 1). Call .view(-1)"),
            (one_hot(Y, 4), "one-hot rows, pass .argmax(1)"),
            (Y.float(), "Call .long() on it"),
        ):
            slip((TypeError, ValueError), remedy, loss, Z_S, Z_T, **{name: y})


def test_one_column_of_logits_and_a_mask_of_rows() -> None:
    for loss in (G.kd_loss, G.dist_loss):
        slip(ValueError, "multilabel", loss, Z_S[:, :1], Z_T[:, :1])
    slip(ValueError, "by index=", G.kd_loss, Z_S, Z_T, task="multilabel", mask=MASK)


def test_a_mask_or_labels_in_the_place_of_another_argument() -> None:
    for rows in (MASK, Y):
        words = "edge_index must hold edges...by name: index= or labels="
        slip(TypeError, words, FitNetLoss(5, 5), H, T, rows)
        slip(TypeError, words, GCRDLoss(5, 5, head="gcn"), H, T, rows)
    slip(TypeError, "Pass a mask or row numbers by name, as index=", G.lsp_loss, H, T, MASK)
    slip(TypeError, "mask of rows, pass it as index=", G.attention_transfer_loss, H, T, MASK)
    slip(ValueError, "edges, pass them as edge_index=", G.attention_transfer_loss, H, T, EDGES)
    GCRDLoss(5, 5)(H, T, EDGES)  # as a WeightedSum passes them


def test_student_and_teacher_swapped() -> None:
    for loss in (GCRDLoss(5, 7), FitNetLoss(5, 7), GCRDLoss(7, 5)):
        rows = (WIDE, H) if loss.dim_s == 5 else (H, WIDE)
        slip(ValueError, "student and teacher are swapped", loss, *rows)
    with pytest.warns(UserWarning, match="z_s requires no gradient, but z_t does"):
        G.kd_loss(Z_T, Z_S)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        G.kd_loss(Z_S, Z_T.clone().requires_grad_())
        with torch.no_grad():
            G.kd_loss(Z_T, Z_S)


def test_options() -> None:
    slip(TypeError, "got '4' (str). Pass a plain float", KDLoss, "4")
    slip(TypeError, "belong into the call of the loss", KDLoss, Z_S)
    slip(TypeError, "belong into the call of the loss", GCRDLoss, H, T)
    slip(ValueError, "got float32 tensor of shape (9, 5)", LSPLoss, kernel=H)
    slip(ValueError, "got the class Linear", LSPLoss, kernel=nn.Linear)
    slip(ValueError, "got float32 tensor", KDLoss, reduction=Z_S)
    for head in (nn.Linear, (nn.Linear, nn.Linear), nn.Linear(5, 7)):
        slip(ValueError, "Pass two modules that are built", GCRDLoss, 5, 7, head=head)


PAIRS = [
    (
        (KDLoss(), 0.9),
        "got (KDLoss, 0.9 (float)). The two are swapped. Pass the tuple (0.9, KDLoss",
    ),
    ((0.9, KDLoss), "got (0.9 (float), the class KDLoss). Build the loss: (0.9, KDLoss(...))"),
    (KDLoss, "got the class KDLoss. Build the loss: (1.0, KDLoss(...))"),
    (KDLoss(), "got KDLoss. Pass the tuple (1.0, KDLoss(...))"),
    ([0.9, KDLoss()], "got [0.9 (float), KDLoss]. Pass the tuple (0.9, KDLoss(...))"),
    ((0.9, G.kd_loss), "the function kd_loss). A function is no Module: pass that of the loss"),
    (0.9, "got 0.9 (float). Pass a tuple"),
    ((torch.tensor(0.9), KDLoss()), "got float32 tensor of shape (). Pass a plain float"),
]


@pytest.mark.parametrize(("term", "remedy"), PAIRS)
def test_terms(term, remedy: str) -> None:
    slip(TypeError, f"term 'kd'...{remedy}", WeightedSum, kd=term)
    slip(TypeError, f"node type 'a': its term...{remedy}", HeteroLoss, {"a": term})


def test_names_of_terms() -> None:
    term = (1.0, KDLoss())
    for name, better in (("a.b", "a_b"), ("keys", "keys_loss"), ("", "loss")):
        words = f"got {name!r}. Call it {better!r}"
        slip(ValueError, words, WeightedSum, **{name: term})
        slip(ValueError, words, HeteroLoss, {"a": {name: term}})
        assert WeightedSum(**{better: term}).weights == {better: 1.0}
    slip(TypeError, "must be strings; got 0 (int)", HeteroLoss, {"a": {0: term}})


def test_a_mask_as_integers_in_the_place_of_node_ids(tmp_path) -> None:
    mask = MASK.long()
    words = f"all 0 or 1, for {N} rows: a mask as integers"
    context = torch.randint(0, N, (N, 3))
    slip(ValueError, words, G.random_walks, EDGES, N, mask)
    slip(ValueError, words, G.link_context, EDGES, N, mask)
    slip(ValueError, words, G.llp_loss, H, T, context, mask)
    assert G.random_walks(EDGES, N, torch.zeros(N, dtype=torch.long), length=2).size(0) == N
    store = TeacherStore.build(tmp_path / "s", nn.Linear(5, 2), DATA, **LINEAR)
    slip(ValueError, words, store.__getitem__, mask)
    slip(TypeError, "Call .bool() on a mask", store.__getitem__, mask.byte())
    assert store[MASK].z.size(0) == 4
    assert store[torch.tensor([0, 1])].z.size(0) == 2


def test_what_a_store_is_not_built_from(tmp_path) -> None:
    path, model = tmp_path / "s", nn.Linear(5, 2)
    for batches in (T, (T, EDGES)):
        words = "a batch must be a Data...got float32 tensor...Pass Data(x=x"
        slip(TypeError, words, TeacherStore.build, path, model, batches, **LINEAR)
    slip(TypeError, "The order is path, teacher", TeacherStore.build, model, DATA, path)
    (tmp_path / "notes").write_text("mine")
    words = "TeacherStore.build: ...notes is there already...choose another path"
    slip(ValueError, words, TeacherStore.build, tmp_path / "notes", model, DATA, **LINEAR)


def test_edges_of_several_layers() -> None:
    slip(TypeError, "Pass one element", G.lsp_loss, H, T, [(EDGES, None, (N, N))])


class Own(nn.Module):
    """A loss of one's own, without a reduction and without an index."""

    reduced = True

    def forward(self, z_s, z_t):
        rows = (z_s - z_t).square().mean(dim=1)
        return rows.mean() if self.reduced else rows


def test_a_loss_of_ones_own() -> None:
    data = {"z_s": torch.randn(5, 3), "z_t": torch.randn(5, 3)}
    own = WeightedSum(own=(1.0, Own()), kd=(1.0, KDLoss()))
    with pytest.warns(UserWarning, match=r"index= does not reach loss 'own' \(Own\)") as told:
        own(**data, index=torch.tensor([0, 1]))
    assert len(told) == 1
    own.losses["own"].reduced = False
    slip(ValueError, "must return a scalar tensor...End its forward with .mean()", own, **data)


class Misnamed(nn.Module):
    def forward(self, student, teacher):
        return (student - teacher).abs().mean()


def test_arguments_go_by_name() -> None:
    own = WeightedSum(own=(1.0, Misnamed()))
    slip(
        TypeError, "needs student=...let its forward take h_s, h_t, z_s", own, z_s=torch.ones(2, 3)
    )


def test_what_a_checkpoint_computes_again_has_not_moved() -> None:
    """With use_reentrant=True the first pass records nothing, and nothing moves in it."""
    ids = torch.arange(N)
    crd = CRDLoss(5, 5, num_nodes=N, proj_dim=4, momentum=0.5)
    queue = GCRDLoss(5, 5, 4, queue_size=2 * N)
    for loss, words in ((crd, "CRDLoss: ...banks moved"), (queue, "GCRDLoss: ...queue moved")):

        def value(h, loss=loss):
            return loss(h, T, ids=ids)

        checkpoint(value, H, use_reentrant=True).backward()
        slip(RuntimeError, words, checkpoint(value, H, use_reentrant=False).backward)
        loss.eval()
        checkpoint(value, H, use_reentrant=False).backward()
    whole = WeightedSum(fit=(1.0, FitNetLoss(5, 5)), balance=True)
    rows = H @ torch.eye(5)

    def balanced(h):
        return whole(h_s=h, h_t=T, task_loss=h.square().mean())[0]

    checkpoint(balanced, rows, use_reentrant=True).backward()
    words = "WeightedSum(balance=True): ...averages moved"
    slip(RuntimeError, words, checkpoint, balanced, H @ torch.eye(5), use_reentrant=False)


def test_terms_and_arguments_that_cannot_be_handed_on() -> None:
    class Silent(nn.Module):
        def forward(self, **given):
            return given["h_s"].sum()

    whole = WeightedSum(kd=(1.0, KDLoss()))
    slip(TypeError, "term 'a'...WeightedSum, which is a sum", WeightedSum, a=(1.0, whole))
    slip(TypeError, "term 'a'...Silent, which takes **", WeightedSum, a=(1.0, Silent()))
    slip(TypeError, "by name; got float32 tensor of shape (9, 4)", whole, Z_S, Z_T)
    slip(TypeError, "index...sparse_coo bool tensor...to_dense", G.kd_loss, Z_S, Z_T,
         index=MASK.to_sparse())  # fmt: skip
    slip(TypeError, "y must be an int64...to_dense", G.dkd_loss, Z_S, Z_T, Y.to_sparse())
    slip(TypeError, "temperature...to_dense", G.kd_loss, Z_S, Z_T,
         temperature=torch.ones(N).to_sparse())  # fmt: skip
    for wrong in ("False", 0.1):
        slip(ValueError, "symmetric must be True or False", GCRDLoss, 5, 5, symmetric=wrong)
        slip(ValueError, "head_takes_edges must be", GCRDLoss, 5, 5, head_takes_edges=wrong)
    slip(ValueError, "alpha must be positive", G.krd_loss, Z_S, Z_T, EDGES, torch.rand(N),
         alpha=torch.tensor(-1.0))  # fmt: skip
