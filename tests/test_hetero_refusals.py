"""HeteroLoss: types that a batch lacks, and refusals."""

import pytest
import torch

from graphkd import (
    CRDLoss,
    FFG2MLoss,
    FitNetLoss,
    FSPLoss,
    GCRDLoss,
    GKDLoss,
    HeteroLoss,
    KDLoss,
    KRDLoss,
    LayerwiseLoss,
    LSPLoss,
    TINEDLoss,
    WeightedSum,
)
from tests.hetero_inputs import CITES, METADATA, WRITES, everything, inputs


def test_types_that_a_batch_lacks_need_metadata() -> None:
    h_s, h_t, edge_index = inputs()
    terms = {"author": {"a": (1.0, FitNetLoss(4, 6)), "b": (1.0, GCRDLoss(4, 6))},
             WRITES: (1.0, LSPLoss()), CITES: (1.0, LSPLoss())}  # fmt: skip
    rows = {"paper": h_s["paper"]}, {"paper": h_t["paper"]}
    lacking = {CITES: edge_index[CITES]}
    objective = HeteroLoss(terms, metadata=METADATA)
    total, parts = objective(*rows, lacking)
    total.backward(retain_graph=True)
    assert all((p.grad == 0).all() for p in objective.parameters())
    h_s["paper"].grad = None
    assert parts["author"] == {"a": 0, "b": 0}
    assert parts[WRITES] == 0
    assert total == parts[CITES]
    gone, _ = HeteroLoss({WRITES: (1.0, LSPLoss())}, metadata=METADATA)(*rows, lacking)
    gone.backward()
    assert gone == 0
    assert h_s["paper"].grad.abs().sum() == 0
    for known in ("'author' is not in this batch", "h_s has 'paper'; h_t has 'paper'"):
        with pytest.raises(ValueError, match=known):
            HeteroLoss(terms)(*rows, lacking)
    with pytest.raises(ValueError, match=r"edge_index has \('paper', 'cites', 'paper'\)"):
        HeteroLoss({WRITES: (1.0, LSPLoss())})(h_s, h_t, lacking)
    with pytest.raises(ValueError, match="no node type 'papr'; they have 'author', 'paper'"):
        HeteroLoss({"papr": (1.0, KDLoss())}, metadata=METADATA)
    with pytest.raises(TypeError, match=r"data.metadata\(\)"):
        HeteroLoss(terms, metadata=["paper"])


def test_outputs_that_are_none() -> None:
    """PyG's HGTConv and HANConv give None for a type that got no messages: it is absent."""
    h_s, h_t, edge_index = inputs()
    terms = {"author": (1.0, FitNetLoss(4, 6)), "paper": (1.0, FitNetLoss(4, 6)),
             WRITES: (1.0, LSPLoss())}  # fmt: skip
    objective = HeteroLoss(terms, metadata=METADATA)
    rows, targets = {**h_s, "author": None}, {**h_t, "author": None}
    total, parts = objective(rows, targets, edge_index)
    assert parts["author"] == parts[WRITES] == 0
    assert total == parts["paper"] > 0
    with pytest.raises(ValueError, match=r"h_s has 'paper'; h_t has 'paper'.* Build"):
        HeteroLoss(terms)(rows, targets, edge_index)
    for kind in ("author", WRITES):
        one = HeteroLoss({kind: terms[kind]}, metadata=METADATA)
        none = r"h_s has 'paper'. h_s\['author'\] is None.* Leave the type out of h_t too, and"
        with pytest.raises(ValueError, match=none):
            one(rows, h_t, edge_index)


def test_what_it_refuses() -> None:
    h_s, h_t, edge_index = inputs()
    objective = everything()
    for change, kind, match in [
        ({"h_s": {"paper": h_s["paper"]}}, ValueError, "'author' is in h_t, but h_s lacks it"),
        ({"h_s": h_s["paper"]}, TypeError, "h_s must be a dictionary by type; got float32"),
        ({"index": torch.arange(3)}, TypeError, "index must be a dictionary"),
        ({"weight": 2.0}, TypeError, "weight must be a dictionary by type"),
        ({"weight_dict": {"paper": torch.ones(12)}}, ValueError, r"'paper'.*shape \(20,\)"),
        ({"edge_weight_dict": {"paper": torch.ones(5)}}, ValueError, "by edge type.*'paper'"),
        ({"ids": torch.arange(20)}, TypeError, "ids must be a dictionary"),
        ({"index_dict": {"papers": torch.arange(3)}}, ValueError, "node type 'papers'.*'paper'"),
        ({"index": {}, "index_dict": {}}, TypeError, "index was given twice"),
        ({"indx_dict": {}}, TypeError, "no loss takes indx_dict=.*index"),
        ({"edge_index_dict": None}, TypeError, r"edge type \('author', .*needs edge_index="),
        ({"h_t": {**h_t, "author": h_t["paper"]}}, ValueError, "node type 'author': GCRDLoss"),
        ({"index_dict": {"author": torch.tensor([12])}}, IndexError, "'author'.*names row 12"),
        ({"index_dict": {"paper": torch.arange(1)}}, ValueError, "'paper'.*two rows"),
    ]:
        given = {"h_s": h_s, "h_t": h_t, "edge_index_dict": edge_index, **change}
        with pytest.raises(kind, match=match):
            objective(**given)
    wide = {**h_s, "author": torch.randn(12, 5)}
    with pytest.raises(ValueError, match=r"\('author', 'writes', 'paper'\): .*the same width"):
        HeteroLoss({WRITES: (1.0, LSPLoss())})(wide, h_t, edge_index)


@pytest.mark.parametrize(
    "loss",
    [FFG2MLoss(), KRDLoss(), GKDLoss(), TINEDLoss(), FSPLoss(), GCRDLoss(4, 6, head="gcn"),
     LayerwiseLoss(FFG2MLoss()), WeightedSum(lsp=(1.0, LSPLoss()), fit=(1.0, FitNetLoss(4, 6)))],
    ids=lambda loss: type(loss).__name__,
)  # fmt: skip
def test_an_edge_type_of_two_node_types_refuses_losses_of_one(loss: torch.nn.Module) -> None:
    """Else a source's number would be read as a target's, or two types as two layers."""
    h_s, h_t, edge_index = inputs()
    why = r"compares nodes of one type, and edge type \('author', 'writes', 'paper'\) joins two"
    with pytest.raises(TypeError, match=why):
        HeteroLoss({WRITES: (1.0, loss)})(h_s, h_t, edge_index)
    HeteroLoss({CITES: (1.0, loss)})


class OfTargets(torch.nn.Module):
    """A loss of a user's own that takes the pair and picks a side."""

    def __init__(self) -> None:
        super().__init__()
        self.fit = FitNetLoss(4, 6)

    def forward(self, h_s: tuple, h_t: tuple) -> torch.Tensor:
        return self.fit(h_s[1], h_t[1])


def test_an_edge_types_own_rows_and_a_users_choice_stand() -> None:
    h_s, h_t, _ = inputs()
    fit = FitNetLoss(4, 6)
    own = {WRITES: torch.randn(20, 4)}, {WRITES: torch.randn(20, 6)}
    assert HeteroLoss({WRITES: (1.0, fit)})(*own)[0] == fit(own[0][WRITES], own[1][WRITES])
    picks = OfTargets()
    total, _ = HeteroLoss({WRITES: (1.0, picks)})(h_s, h_t)
    assert total == picks.fit(h_s["paper"], h_t["paper"])
    z = {"paper": torch.randn(20, 3), "author": torch.randn(12, 3)}
    total, _ = HeteroLoss({WRITES: (1.0, KDLoss())})(z_s=z, z_t=z)
    assert abs(total) < 1e-6


def test_what_it_refuses_to_be_built_of() -> None:
    for losses, match in [
        ({}, "an empty one"),
        ([("paper", 1)], "got list"),
        ({"paper": KDLoss()}, "node type 'paper'.*pair"),
        ({"paper": {"kd": KDLoss()}}, "node type 'paper'.*'kd'"),
        ({WRITES: ("1", LSPLoss())}, "edge type.*number"),
        ({("author", "paper"): (1.0, LSPLoss())}, "source, relation, target"),
        ({3: (1.0, KDLoss())}, "got 3"),
        ({"paper": (1.0, LSPLoss())}, "LSPLoss of node type 'paper' needs edges.*edge type"),
        ({"a__to__b": (1.0, LSPLoss())}, r"a tuple such as \('a', 'to', 'b'\)"),
        ({"paper": (1.0, GCRDLoss(4, 6, head="gcn"))}, "GCRDLoss of node type 'paper' needs"),
    ]:
        with pytest.raises(TypeError, match=match):
            HeteroLoss(losses)
    with pytest.raises(ValueError, match="both be called 'a__b__c'"):
        HeteroLoss({"a__b__c": (1.0, KDLoss()), ("a", "b", "c"): (1.0, LSPLoss())})
    with pytest.raises(ValueError, match=r"node type 'paper'.*finite"):
        HeteroLoss({"paper": (float("inf"), KDLoss())})


def test_a_balanced_sum_is_of_one_type() -> None:
    kd = KDLoss()
    both = WeightedSum(balance=True, kd=(1.0, kd))
    with pytest.raises(ValueError, match=r"got one for node type 'author' and node type 'paper'"):
        HeteroLoss({"author": (1.0, both), "paper": (1.0, both)})
    for balance in (True, False):
        sums = [WeightedSum(balance=balance, kd=(1.0, kd)) for _ in range(2)]
        HeteroLoss({"author": (1.0, sums[0]), "paper": (1.0, sums[balance])})


@pytest.mark.parametrize("layered", [False, True])
@pytest.mark.parametrize("kind", [CRDLoss, GCRDLoss])
def test_a_loss_that_keeps_rows_by_node_id_is_of_one_node_type(kind: type, layered: bool) -> None:
    where = (4, 6, 20, 4) if kind is CRDLoss else (4, 6, 4)
    more = {} if kind is CRDLoss else {"queue_size": 20}
    loss = kind(*where, **more)
    if layered:
        loss = LayerwiseLoss(loss, pairs=[(0, 0)])
    words = f"{type(loss).__name__} keeps rows by node id.*node type 'author' and node type 'paper'"
    with pytest.raises(ValueError, match=words):
        HeteroLoss({"author": (1.0, loss), "paper": {"kd": (1.0, KDLoss()), "kept": (1.0, loss)}})
    with pytest.raises(ValueError, match=r"node type 'author' and edge type \('paper', 'cites'"):
        HeteroLoss({"author": (1.0, loss), CITES: (1.0, loss)})
    HeteroLoss({"paper": (1.0, loss), CITES: (1.0, loss)})  # the ids of papers, twice
    kd = KDLoss(torch.nn.Parameter(torch.ones(5)))  # of each row, and by no id
    HeteroLoss({"author": (1.0, kd), "paper": (1.0, kd)})

    h_s, h_t, _ = inputs()
    names = "author", "paper"
    heads = torch.nn.Linear(4, 4), torch.nn.Linear(6, 4)
    shared = HeteroLoss({name: (1.0, kind(*where, head=heads, **more)) for name in names})
    ids = {name: torch.arange(h_s[name].size(0)) for name in names}
    shared({name: h_s[name] for name in names}, h_t, ids=ids)
    assert sum(p.numel() for p in shared.parameters()) == 5 * 4 + 7 * 4
