"""HeteroLoss: each type's inputs, gradients and heads, empty types, copies, compilation."""

import copy
import pickle
from typing import Any

import torch

import graphkd
from graphkd import (
    AttentionTransferLoss,
    FitNetLoss,
    GCRDLoss,
    HeteroLoss,
    KDLoss,
    LSPLoss,
    WeightedSum,
)
from tests.hetero_inputs import CITES, SIZES, WRITES, WRITTEN, everything, inputs


def test_edges_have_weights_by_edge_type_only() -> None:
    h_s, h_t, edge_index = inputs()
    objective = HeteroLoss(
        {"paper": (1.0, FitNetLoss(4, 6)), WRITES: (1.0, LSPLoss()), CITES: (1.0, LSPLoss())}
    )
    strength, weight = torch.rand(edge_index[WRITES].size(1)), torch.rand(len(h_s["paper"]))
    _, parts = objective(
        h_s, h_t, edge_index, edge_weight_dict={WRITES: strength}, weight_dict={"paper": weight}
    )
    pairs = ((h["author"], h["paper"]) for h in (h_s, h_t))
    given = {"edge_weight": strength, "weight": weight}
    assert parts[WRITES] == LSPLoss()(*pairs, edge_index[WRITES], **given)
    cites = h_s["paper"], h_t["paper"], edge_index[CITES]
    assert parts[CITES] == LSPLoss()(*cites, weight=weight)
    assert parts["paper"] == objective.losses["paper"].losses["FitNetLoss"](
        *cites[:2], weight=weight
    )


def test_the_sum_is_that_of_single_losses() -> None:
    h_s, h_t, edge_index = inputs()
    paper, author = GCRDLoss(4, 6, 3), GCRDLoss(4, 6, 3)
    fit, lsp, cites = FitNetLoss(4, 6), LSPLoss(), GCRDLoss(4, 6, 3, head="gcn")
    objective = HeteroLoss(
        {
            "paper": {"gcrd": (0.5, paper), "fit": (3, fit)},
            "author": (0.25, author),
            WRITES: (10.0, lsp),
            CITES: (7.0, WeightedSum(lsp=(2.0, lsp), gcn=(1.0, cites))),
        }
    )
    seeds, mask = torch.tensor([3, 1, 19]), torch.arange(12) % 2 == 0
    total, parts = objective(h_s, h_t, edge_index, index_dict={"paper": seeds, "author": mask})
    wanted: dict[Any, Any] = {
        "paper": {
            "gcrd": paper(h_s["paper"], h_t["paper"], index=seeds),
            "fit": fit(h_s["paper"], h_t["paper"], index=seeds),
        },
        "author": author(h_s["author"], h_t["author"], index=mask),
        WRITES: lsp(
            (h_s["author"], h_s["paper"]),
            (h_t["author"], h_t["paper"]),
            edge_index[WRITES],
            index=seeds,
        ),
        CITES: {
            "lsp": lsp(h_s["paper"], h_t["paper"], edge_index[CITES], index=seeds),
            "gcn": cites(h_s["paper"], h_t["paper"], edge_index[CITES], index=seeds),
        },
    }
    assert parts == wanted
    assert not parts["author"].requires_grad
    assert not parts["paper"]["fit"].requires_grad
    expected = (
        0.5 * wanted["paper"]["gcrd"] + 3 * wanted["paper"]["fit"] + 0.25 * wanted["author"]
        + 10 * wanted[WRITES] + 14 * wanted[CITES]["lsp"] + 7 * wanted[CITES]["gcn"]
    )  # fmt: skip
    torch.testing.assert_close(total, expected)
    parameters = [*objective.parameters()]
    heads = [*paper.parameters(), *author.parameters(), *fit.parameters(), *cites.parameters()]
    assert {id(p) for p in parameters} == {id(p) for p in heads}
    total.backward()
    assert all(p.grad is not None for p in heads)


def test_heads_are_separate_unless_the_module_is_one() -> None:
    separate, shared = everything(), GCRDLoss(4, 6)
    names = {name.split(".")[1] for name, _ in separate.named_parameters()}
    assert names == {"paper", "author", "paper__cites__paper"}
    together = HeteroLoss({"paper": (1.0, shared), "author": (1.0, shared)})
    assert len([*together.parameters()]) == len([*shared.parameters()])


def test_edges_within_one_type_get_tensors_whose_value_is_that_of_pairs() -> None:
    h_s, h_t, edge_index = inputs(torch.float64)
    _, parts = HeteroLoss({CITES: (1.0, LSPLoss("rbf"))})(h_s, h_t, edge_index)
    pair = LSPLoss("rbf")((h_s["paper"],) * 2, (h_t["paper"],) * 2, edge_index[CITES])
    torch.testing.assert_close(parts[CITES], pair.detach())


def test_gradients() -> None:
    h_s, h_t, edge_index = inputs(torch.float64)
    objective = everything().double()

    def total(paper: torch.Tensor, author: torch.Tensor) -> torch.Tensor:
        return objective({"paper": paper, "author": author}, h_t, edge_index)[0]

    assert torch.autograd.gradcheck(total, (h_s["paper"], h_s["author"]))
    teacher = {key: h.requires_grad_() for key, h in h_t.items()}
    objective(h_s, teacher, edge_index)[0].backward()
    assert all(h.grad is None for h in teacher.values())


def test_arguments_go_by_type_with_either_name_and_the_rest_to_all() -> None:
    h_s, h_t, _ = inputs()
    mask, batch = torch.rand(20, 5) < 0.7, torch.arange(12) // 6
    z_s, z_t = torch.randn(2, 20, 5).unbind()
    objective = HeteroLoss({
        "paper": (1.0, KDLoss(task="multilabel")), "author": (1.0, AttentionTransferLoss()),
    })  # fmt: skip
    given = {"z_s": {"paper": z_s}, "z_t_dict": {"paper": z_t}, "mask_dict": {"paper": mask}}
    _, parts = objective(h_s, h_t, **given, batch={"author": batch}, y_dict={"paper": z_s})
    wanted = graphkd.functional.attention_transfer_loss(h_s["author"], h_t["author"], batch)
    assert parts["author"] == wanted
    assert parts["paper"] == KDLoss(task="multilabel")(z_s, z_t, mask=mask)
    labels, alike = torch.arange(20) // 4, GCRDLoss(4, 6)
    both = HeteroLoss({"paper": (1.0, alike), "author": (1.0, AttentionTransferLoss())})
    _, parts = both(h_s, h_t, labels_dict={"paper": labels})
    assert parts["paper"] == alike(h_s["paper"], h_t["paper"], labels=labels)
    sampled = HeteroLoss({"paper": (1.0, GCRDLoss(4, 6, max_samples=5))}).eval()
    one, other = (
        sampled(h_s, h_t, generator=torch.Generator().manual_seed(seed))[0] for seed in (1, 2)
    )
    assert one == sampled(h_s, h_t, generator=torch.Generator().manual_seed(1))[0] != other


def test_what_is_given_for_an_edge_type_itself_comes_first() -> None:
    """Logits of links, the prepared teacher side, the centres of one relation."""
    h_s, h_t, edge_index = inputs()
    scores = torch.randn(2, 50, 3).unbind()
    _, parts = HeteroLoss({WRITES: (1.0, KDLoss())})(
        z_s={WRITES: scores[0]}, z_t={WRITES: scores[1]}
    )
    assert parts[WRITES] == KDLoss()(*scores)
    lsp, objective = LSPLoss(), HeteroLoss({WRITES: (1.0, LSPLoss())})
    pairs = [(h["author"], h["paper"]) for h in (h_s, h_t)]
    prepared = lsp.precompute(pairs[1], edge_index[WRITES])
    assert objective(h_s, {WRITES: prepared}, edge_index)[0] == lsp(*pairs, edge_index[WRITES])
    index = {"paper": torch.arange(3), WRITES: torch.arange(9)}
    wanted = lsp(*pairs, edge_index[WRITES], index=torch.arange(9))
    assert objective(h_s, h_t, edge_index, index_dict=index)[0] == wanted


def test_weights_by_type_are_those_of_rows_and_centres() -> None:
    h_s, h_t, edge_index = inputs()
    fit, lsp = FitNetLoss(4, 6), LSPLoss()
    objective = HeteroLoss({"paper": (1.0, fit), "author": (1.0, fit), WRITES: (1.0, lsp)})
    weight = torch.rand(20)
    pairs = [(h["author"], h["paper"]) for h in (h_s, h_t)]
    wanted = {
        "paper": fit(h_s["paper"], h_t["paper"], weight=weight),
        "author": fit(h_s["author"], h_t["author"]),
        WRITES: lsp(*pairs, edge_index[WRITES], weight=weight),
    }
    assert objective(h_s, h_t, edge_index, weight_dict={"paper": weight})[1] == wanted
    wanted[WRITES] = lsp(*pairs, edge_index[WRITES])
    own = {"paper": weight, WRITES: None}
    assert objective(h_s, h_t, edge_index, weight_dict=own)[1] == wanted
    equal = {name: torch.full((n,), 2.0) for name, n in SIZES.items()}
    torch.testing.assert_close(
        objective(h_s, h_t, edge_index, weight_dict=equal), objective(h_s, h_t, edge_index)
    )


def test_balancing_within_a_type() -> None:
    h_s, h_t, _ = inputs()
    h_s = {key: h * 1.0 for key, h in h_s.items()}
    task = h_s["paper"].square().mean()
    balanced = WeightedSum(gcrd=(1.0, GCRDLoss(4, 6)), balance=True)
    objective = HeteroLoss({"paper": balanced, "author": (1.0, FitNetLoss(4, 6))})
    total, _ = objective(h_s, h_t, task_loss=task)
    author = objective.losses["author"](h_s=h_s["author"], h_t=h_t["author"])[0]
    norms = [torch.autograd.grad(v, h_s["paper"], retain_graph=True)[0].norm()
             for v in (total - author, task)]  # fmt: skip
    torch.testing.assert_close(*norms)


def test_empty_types_count_as_nothing() -> None:
    h_s, h_t, edge_index = inputs()
    none = torch.empty(2, 0, dtype=torch.long)
    objective = HeteroLoss({
        "paper": (1.0, GCRDLoss(4, 6)), "author": (1.0, GCRDLoss(4, 6)),
        WRITES: (1.0, LSPLoss()), WRITTEN: (1.0, LSPLoss()),
    })  # fmt: skip
    no_author = ({"paper": h["paper"], "author": h["author"][:0]} for h in (h_s, h_t))
    total, parts = objective(*no_author, {WRITES: none, WRITTEN: none})
    assert parts["author"] == parts[WRITES] == parts[WRITTEN] == 0
    assert total == parts["paper"] > 0
    total, _ = objective(h_s, h_t, edge_index, index_dict={k: torch.arange(0) for k in SIZES})
    total.backward()
    assert total == 0
    assert all(h.grad.abs().sum() == 0 for h in h_s.values())


def test_any_name_may_be_a_type() -> None:
    names = ["keys", "training", "a.b", "forward", "", "x y", "losses"]
    objective = HeteroLoss({
        **{name: (1.0, FitNetLoss(4, 6)) for name in names},
        **{(name, "a.b", "to"): (1.0, LSPLoss()) for name in names},
    })  # fmt: skip
    assert "losses.a#b.losses.FitNetLoss.head_s.map.weight" in objective.state_dict()
    h_s, h_t = ({name: torch.randn(9, d) for name in [*names, "to"]} for d in (4, 6))
    graph = {(name, "a.b", "to"): torch.randint(9, (2, 20)) for name in names}
    total, parts = objective(h_s, h_t, graph)
    torch.testing.assert_close(total.detach(), sum(parts.values()))
    other = copy.deepcopy(objective)
    other.load_state_dict(objective.state_dict())
    assert other(h_s, h_t, graph)[1] == parts


def test_copies_and_devices() -> None:
    h_s, h_t, edge_index = inputs()
    objective = everything()
    _, parts = objective(h_s, h_t, edge_index)
    for other in (copy.deepcopy(objective), pickle.loads(pickle.dumps(objective))):
        assert repr(other) == repr(objective)
        assert other(h_s, h_t, edge_index)[1] == parts
    fresh = everything()
    fresh.load_state_dict(objective.state_dict())
    assert fresh(h_s, h_t, edge_index)[1] == parts
    assert "author__writes__paper" in repr(objective)
    assert "paper=0.5" in repr(HeteroLoss({"paper": (0.5, WeightedSum(kd=(1.0, KDLoss())))}))
    wide = objective.double()(*({k: h.double() for k, h in x.items()} for x in (h_s, h_t)),
                              edge_index)[0]  # fmt: skip
    assert wide.dtype == torch.float64
    half = everything()({k: h.bfloat16() for k, h in h_s.items()}, h_t, edge_index)[0]
    assert half.dtype == torch.float32


def test_compiles() -> None:
    torch._dynamo.reset()
    h_s, h_t, edge_index = inputs()
    terms = {"paper": {"fit": (1.0, FitNetLoss(4, 6)), "at": (5.0, AttentionTransferLoss())},
             WRITES: (10.0, LSPLoss()), "gone": (1.0, FitNetLoss(4, 6))}  # fmt: skip
    objective = HeteroLoss(terms, metadata=(["paper", "author", "gone"], [WRITES]))
    index = {"paper": torch.tensor([3, 1, 19])}
    compiled = torch.compile(objective, fullgraph=True, dynamic=True, backend="eager")
    total, parts = objective(h_s, h_t, edge_index, index_dict=index)
    value, same = compiled(h_s, h_t, edge_index, index_dict=index)
    torch.testing.assert_close((value, same), (total, parts))
    torch.testing.assert_close(*(torch.autograd.grad(v, [*h_s.values()]) for v in (value, total)))


def test_sparse_formats() -> None:
    h_s, h_t, edge_index = inputs()
    objective = HeteroLoss({WRITES: (1.0, LSPLoss()), CITES: (1.0, LSPLoss())})
    unique = {key: e.unique(dim=1) for key, e in edge_index.items()}
    adj_t = {
        (src, rel, dst): torch.sparse_coo_tensor(
            e.flip(0), torch.ones(e.size(1)), (SIZES[dst], SIZES[src]), check_invariants=True
        )
        for (src, rel, dst), e in unique.items()
    }
    torch.testing.assert_close(objective(h_s, h_t, adj_t)[0], objective(h_s, h_t, unique)[0])
