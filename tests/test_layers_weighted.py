"""LayerwiseLoss and MultiTeacherLoss as terms of WeightedSum and HeteroLoss."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import graphkd.functional as G
from graphkd import (
    AttentionTransferLoss,
    FitNetLoss,
    HeteroLoss,
    KDLoss,
    LayerwiseLoss,
    LSPLoss,
    MultiTeacherLoss,
    WeightedSum,
)
from graphkd.losses.several.weighted import arguments_of


def layers(n: int = 9) -> tuple[list[Tensor], list[Tensor]]:
    h_s = [torch.randn(n, d, requires_grad=True) for d in (4, 3)]
    return h_s, [torch.randn(n, d) for d in (5, 6, 3)]


def test_further_arguments_reach_the_inner_loss() -> None:
    h_s, h_t = layers()
    edges = torch.randint(0, 9, (2, 20))
    loss = LayerwiseLoss(LSPLoss(), pairs=[(0, 1)])
    torch.testing.assert_close(loss(h_s, h_t, edge_index=edges), G.lsp_loss(h_s[0], h_t[1], edges))
    with pytest.raises(TypeError, match="LSPLoss needs edge_index="):
        loss(h_s, h_t)
    with pytest.raises(TypeError, match="LSPLoss takes no batch=; it takes edge_index"):
        loss(h_s, h_t, edge_index=edges, batch=None)


def rows_of(dim_s: int, dim_t: int) -> FitNetLoss:
    return FitNetLoss(dim_s, dim_t, reduction="none")


@pytest.mark.parametrize(
    ("inner", "options"),
    [
        (FitNetLoss, {"pairs": [(0, 1), (1, 2)], "weights": (0.5, 2.0)}),
        (FitNetLoss, {"pairs": "attention"}),
        (rows_of, {"pairs": "attention"}),
        (FitNetLoss, {"weights": "attention", "entropy": 0.3}),
        (rows_of, {"weights": "attention", "entropy": 0.3}),
        (rows_of, {"weights": "global", "entropy": 0.3}),
        (FitNetLoss, {"weights": "global", "entropy": 0.3}),
    ],
)
def test_a_weight_of_two_is_a_node_twice(inner, options: dict) -> None:
    """In the losses, in the attention of a scalar loss, and in the price of uneven weights."""
    times = torch.tensor([0, 2, 1, 0, 3, 1, 1, 0, 2])
    h_s, h_t = layers()
    if "pairs" in options:
        loss = LayerwiseLoss(inner, [4, 3], [5, 6, 3], **options)
    else:
        h_s, loss = h_s[0], MultiTeacherLoss(inner, 4, [5, 6, 3], **options)
        if options["weights"] == "global":
            torch.nn.init.normal_(loss.scores)
    learning = [*(h_s if isinstance(h_s, list) else [h_s]), *loss.parameters()]
    value = loss(h_s, h_t, weight=times.float())
    expected = loss(h_s, h_t, index=torch.arange(9).repeat_interleave(times))
    torch.testing.assert_close(value, expected)
    found, right = (torch.autograd.grad(x, learning, allow_unused=True) for x in (value, expected))
    torch.testing.assert_close(found, right)
    mask = torch.arange(9) > 2
    value = loss(h_s, h_t, weight=times.float(), index=mask)
    torch.testing.assert_close(value, loss(h_s, h_t, weight=(times * mask).float()))
    assert loss(h_s, h_t, weight=torch.zeros(9)) == 0


def test_weights_of_layers_and_weights_of_nodes_must_fit() -> None:
    h_s, h_t = layers()
    given = {"pairs": [(0, 0)], "weights": torch.ones(9, 1), "weight": torch.ones(9)}
    inner = FitNetLoss(4, 5)
    rows = "got 9 rows of weights for 3 nodes. Those of the selected nodes are weights.index."
    with pytest.raises(ValueError, match=rows):
        G.layerwise_loss(h_s, h_t, inner, **given, index=torch.arange(3))


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("masked", [False, True])
def test_weights_by_node_are_those_of_the_selected_ones(reduction: str, masked: bool) -> None:
    """The selected nodes learn from the first teacher alone, the others from the second."""
    (h, _), (t, _, _) = layers()
    teachers, alone = [t, t.flip(0)], torch.eye(2)
    weights = alone[[0, 0, 0, 1, 1, 1, 1, 1, 1]]
    index = torch.arange(9) < 3 if masked else torch.arange(3)
    inner = FitNetLoss(4, 5, reduction=reduction)
    call = {"loss": inner, "index": index, "entropy": 0.7}
    right = inner(h, t, index=index).mean() + 0.7 * torch.tensor(2.0).log()
    found = G.multi_teacher_loss(h, teachers, weights=weights[index], **call)
    torch.testing.assert_close(found, right)
    with pytest.raises(ValueError, match=r"weights\[index\]"):
        G.multi_teacher_loss(h, teachers, weights=weights, **call)
    with pytest.raises(ValueError, match="got 3 rows of weights for 9 nodes"):
        G.multi_teacher_loss(h, teachers, inner, weights=weights[index])
    sides, edges = [(t, t.flip(0)), (t, t)], torch.randint(9, (2, 30))
    pairs = {"loss": LSPLoss(reduction=reduction), "edge_index": edges, "index": index}
    found = G.multi_teacher_loss((h, h), sides, weights=weights[index], **pairs)
    first = pairs["loss"]((h, h), sides[0], edges, index=index).mean()
    torch.testing.assert_close(found, first)
    with pytest.raises(ValueError, match="got 9 rows of weights for 3 nodes"):
        G.multi_teacher_loss((h, h), sides, weights=weights, **pairs)


def test_names_are_those_of_the_inner_loss() -> None:
    layered = LayerwiseLoss(LSPLoss(), pairs=[(0, 0)])
    takes, needs = arguments_of(layered)
    assert {"h_s", "h_t", "edge_index", "weight", "index"} <= set(takes)
    assert needs == ("h_s", "h_t", "edge_index")
    assert arguments_of(torch.compile(layered, backend="eager")) == (takes, needs)
    assert arguments_of(LayerwiseLoss(KDLoss()))[1] == ("h_s", "h_t")
    takes, needs = arguments_of(MultiTeacherLoss(KDLoss(), weights=None))
    assert needs == ("z_s", "z_t")
    assert {"index", "mask"} <= set(takes)
    nested = LayerwiseLoss(MultiTeacherLoss(LSPLoss(), weights=None), pairs=[(0, 0)])
    assert arguments_of(nested)[1] == ("h_s", "h_t", "edge_index")


def test_terms_of_a_weighted_sum() -> None:
    h_s, h_t = layers()
    edges, seeds = torch.randint(0, 9, (2, 20)), torch.tensor([1, 7])
    z_s, *teachers = torch.randn(3, 9, 4).unbind()
    hints = LayerwiseLoss(FitNetLoss, [4, 3], [5, 6, 3])
    last = LayerwiseLoss(LSPLoss(), pairs=[(-1, -1)])
    several = MultiTeacherLoss(KDLoss(), weights=None)
    objective = WeightedSum(hints=(0.5, hints), lsp=(2.0, last), kd=(1.0, several))
    total, parts = objective(h_s=h_s, h_t=h_t, z_s=z_s, z_t=teachers, edge_index=edges, index=seeds)
    expected = {
        "hints": hints(h_s, h_t, index=seeds),
        "lsp": G.lsp_loss(h_s[1], h_t[2], edges, index=seeds),
        "kd": sum(G.kd_loss(z_s, z, index=seeds) for z in teachers) / 2,
    }
    torch.testing.assert_close(parts, {k: v.detach() for k, v in expected.items()})
    total.backward()
    with pytest.raises(TypeError, match=r"'lsp' \(LayerwiseLoss\) needs edge_index="):
        objective(h_s=h_s, h_t=h_t, z_s=z_s, z_t=teachers)


@pytest.mark.parametrize("named", [False, True])
def test_balancing_compares_gradients_at_all_layers(named: bool) -> None:
    x, classify = torch.randn(9, 4), nn.Linear(3, 2)
    first, second = nn.Linear(4, 4), nn.Linear(4, 3)
    hidden = first(x)
    h_s, (_, h_t) = [hidden, second(hidden.relu())], layers()
    task = F.cross_entropy(classify(h_s[1].relu()), torch.randint(0, 2, (9,)))
    given_s, given_t = h_s, h_t
    if named:
        given_s, given_t = dict(zip("ab", h_s, strict=True)), dict(zip("xyz", h_t, strict=True))
    pairs = [("a", "y"), ("b", "z")] if named else "uniform"
    objective = WeightedSum(
        layers=(1.0, LayerwiseLoss(AttentionTransferLoss(), pairs=pairs)), balance=True
    )
    total, _ = objective(task_loss=task, h_s=given_s, h_t=given_t)
    norms = [
        torch.cat([g.flatten() for g in torch.autograd.grad(value, h_s, retain_graph=True)]).norm()
        for value in (task, total)
    ]
    torch.testing.assert_close(norms[0], norms[1], rtol=1e-4, atol=1e-6)
    cut: list | dict = [h.detach() for h in h_s]
    cut = dict(zip("ab", cut, strict=True)) if named else cut
    with pytest.raises(TypeError, match="or a list of them by layer, with a gradient"):
        objective(task_loss=task, h_s=cut, h_t=given_t)


def test_teachers_by_node_type() -> None:
    h_s, h_t = layers()
    loss = MultiTeacherLoss(AttentionTransferLoss(), weights=None)
    several = LayerwiseLoss(AttentionTransferLoss())
    objective = HeteroLoss({"paper": (1.0, loss), "author": (0.5, several)})
    total, parts = objective({"paper": h_s[0], "author": h_s}, {"paper": h_t, "author": h_t})
    torch.testing.assert_close(total, loss(h_s[0], h_t) + 0.5 * several(h_s, h_t))
    assert set(parts) == {"paper", "author"}
    total.backward()
    with pytest.raises(TypeError, match="HeteroLoss, node type 'author': LayerwiseLoss: h_s must"):
        objective({"paper": h_s[0], "author": h_s[0]}, {"paper": h_t, "author": h_t})


def test_layers_and_teachers_of_an_edge_type() -> None:
    """Sources and targets are joined layer by layer, and teacher by teacher."""
    key, edges = ("author", "writes", "paper"), torch.randint(9, (2, 30))
    (a, b), (s, t) = ([[torch.randn(9, d) for _ in range(2)] for _ in range(2)] for d in (4, 5))
    right = [G.lsp_loss((a[i], b[i]), (s[i], t[i]), edges) for i in range(2)]
    several = HeteroLoss({key: (1.0, LayerwiseLoss(LSPLoss()))})
    found, _ = several({"author": a, "paper": b}, {"author": s, "paper": t}, {key: edges})
    torch.testing.assert_close(found, (right[0] + right[1]) / 2)
    teachers = HeteroLoss({key: (1.0, MultiTeacherLoss(LSPLoss(), weights=[3.0, 1.0]))})
    named = {kind: dict(zip("xy", h, strict=True)) for kind, h in {"author": s, "paper": t}.items()}
    found, _ = teachers({"author": a[0], "paper": b[0]}, named, {key: edges})
    other = G.lsp_loss((a[0], b[0]), (s[1], t[1]), edges)
    torch.testing.assert_close(found, 3 * right[0] + other)
    for wrong, what in (
        (s[:1], "a list of 1 for 'author' and a list of 2 for 'paper'"),
        (s[0], "float32 tensor .* for 'author'"),
        ({"x": s[0]}, "a dictionary of 'x'"),
    ):
        with pytest.raises(ValueError, match=f"h_t has {what}"):
            several({"author": a, "paper": b}, {"author": wrong, "paper": t}, {key: edges})


def test_layers_of_a_type_that_a_batch_lacks_leave_the_student_attached() -> None:
    terms = {"author": (1.0, LayerwiseLoss(AttentionTransferLoss()))}
    objective = HeteroLoss(terms, metadata=(["author", "paper"], []))
    h_s, h_t = layers()
    total, _ = objective({"paper": h_s}, {"paper": h_t})
    total.backward()
    assert total == 0
    assert all(h.grad.eq(0).all() for h in h_s)
