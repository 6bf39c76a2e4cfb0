"""What errors advise about an argument of the wrong kind or length, in the words of each loss."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import Data

import graphkd
import graphkd.functional as G

H_S, H_T = torch.randn(6, 4), torch.randn(6, 4)


def refused(error: type[Exception], words: str, call, *args, **options) -> str:
    with pytest.raises(error, match=re.escape(words)) as found:
        call(*args, **options)
    return str(found.value)


def test_weights_of_classes_are_not_of_rows() -> None:
    words = "one entry per row, shape (6,); got float32 tensor of shape (4,). It has one for each"
    for loss in (G.kd_loss, graphkd.KDLoss(), G.fitnet_loss):
        refused(ValueError, f"{words} column", loss, H_S, H_T, weight=torch.ones(4))
        words_of_rows = "Pass the weights of all rows, also where index selects some."
        refused(ValueError, words_of_rows, loss, H_S, H_T, weight=torch.ones(5))
        some = {"weight": torch.ones(2), "index": torch.tensor([0, 3])}
        refused(ValueError, words_of_rows, loss, H_S, H_T, **some)
        some = {"weight": torch.ones(4), "index": torch.arange(4)}
        refused(ValueError, "index selects, pass the weights of all", loss, H_S, H_T, **some)


def test_llps_rows_are_anchors() -> None:
    context, anchors = torch.randint(0, 6, (2, 3)), torch.tensor([4, 1])
    given = H_S, H_T, context, anchors
    for loss in (G.llp_loss, graphkd.LLPLoss()):
        words = "one entry per anchor, shape (2,); got float32 tensor of shape (6,). "
        found = refused(ValueError, words, loss, *given, weight=torch.ones(6))
        assert found.endswith(
            "Cut the weights of all nodes to the anchors, the rows of context: weight[anchors]."
        )
        words = "one entry per anchor, shape (2,); got bool tensor of shape (6,). "
        found = refused(IndexError, words, loss, *given, index=torch.arange(6) < 3)
        assert found.endswith("mask[anchors].")
        loss(*given, weight=torch.ones(6)[anchors], index=(torch.arange(6) < 3)[anchors])


def test_a_codebook_is_a_matrix() -> None:
    codebook = nn.Embedding(5, 4)
    words = "got Embedding. Pass the codes that it holds: codebook.weight."
    refused(TypeError, words, G.vqgraph_loss, H_S, H_T, codebook)
    G.vqgraph_loss(H_S, H_T, codebook.weight)


@pytest.mark.parametrize("integer", [np.int64, np.int32, np.uint8])
def test_a_store_takes_integers_of_numpy(tmp_path, integer: type) -> None:
    data = Data(x=torch.randn(6, 4), num_nodes=6)
    how = {"tap": None, "forward": lambda model, batch: model(batch.x), "progress": False}
    store = graphkd.TeacherStore.build(tmp_path / "store", nn.Linear(4, 2), data, **how)
    assert torch.equal(store[integer(3)].z, store[3].z)
    for wrong, error in ((integer(6), IndexError), (np.bool_(True), TypeError)):
        with pytest.raises(error, match="TeacherStore: n_id"):
            store[wrong]


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_is_named(layout: torch.layout) -> None:
    parts = torch.nested.nested_tensor([H_S[:2], H_S[2:]], layout=layout)
    words = "z_s must be a dense tensor; got nested tensor of 2 parts. Join them: torch.cat(z_s.un"
    refused(TypeError, words, G.kd_loss, parts, H_T)
    G.kd_loss(torch.cat(parts.unbind()), H_T)
    assert graphkd._checks.describe(parts) == "nested tensor of 2 parts"


class Own(nn.Module):
    """A user's loss, with names of its own."""

    def forward(self, student, teacher):
        return (student - teacher).square().mean()


def test_a_loss_of_ones_own_by_type_says_what_was_given() -> None:
    h = {"a": H_S}
    words = "HeteroLoss, node type 'a': Own needs student=, which was not given; got h_s, h_t"
    found = refused(TypeError, words, graphkd.HeteroLoss({"a": (1.0, Own())}), h, h)
    assert "let its forward take h_s, h_t" in found
    assert "WeightedSum" not in found
    words = "KDLoss needs z_s=, which was not given; got h_s, h_t, index."
    both = {"fit": (1.0, graphkd.FitNetLoss(4, 4)), "kd": (1.0, graphkd.KDLoss())}
    index = {"a": torch.arange(2)}
    refused(TypeError, words, graphkd.HeteroLoss({"a": both}), h, h, index_dict=index)


def test_rows_of_several_labels_are_pairs() -> None:
    labels = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 1]])
    known = labels.float().masked_fill(torch.rand(6, 3) < 0.1, torch.nan)
    words = "Of one-hot rows, pass .argmax(1). Of rows with several labels, pass the pairs of rows"
    for loss in (G.gcrd_loss, graphkd.GCRDLoss(4, 4)):
        refused(ValueError, f"{words} that share one: positives=.", loss, H_S, H_T, labels=labels)
        refused(TypeError, f"{words} that share one: positives=.", loss, H_S, H_T, labels=known)
        share = (known == 1).float()
        loss(H_S, H_T, positives=(share @ share.T).nonzero().T)
    assert "positives" not in refused(ValueError, "argmax", G.dkd_loss, H_S, H_T, labels)
