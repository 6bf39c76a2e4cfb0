"""WeightedSum: the arguments it passes, its refusals, and balancing."""

import copy
import functools
import pickle
import warnings

import pytest
import torch
from torch import nn

import graphkd
from graphkd import (
    AttentionTransferLoss,
    FitNetLoss,
    FSPLoss,
    GCRDLoss,
    GlobalLSPLoss,
    KDLoss,
    LSPLoss,
    TINEDLoss,
    WeightedSum,
)


def batch(n: int = 30) -> dict:
    h_s = torch.randn(n, 6, requires_grad=True)
    h_s = h_s * 1.0  # no leaf, as in a real student
    classify = nn.Linear(6, 4)
    return {
        "h_s": h_s,
        "h_t": torch.randn(n, 8),
        "z_s": classify(h_s),
        "z_t": torch.randn(n, 4),
        "edge_index": torch.randint(0, n, (2, 4 * n)),
        "y": torch.randint(0, 4, (n,)),
    }


def test_the_sum_is_the_sum() -> None:
    data = batch()
    kd, gcrd, lsp = KDLoss(), GCRDLoss(6, 8).eval(), LSPLoss()
    objective = WeightedSum(kd=(0.9, kd), gcrd=(0.05, gcrd), lsp=(2, lsp)).eval()
    total, parts = objective(**data)
    wanted = {
        "kd": kd(data["z_s"], data["z_t"]),
        "gcrd": gcrd(data["h_s"], data["h_t"]),
        "lsp": lsp(data["h_s"], data["h_t"], data["edge_index"]),
    }
    assert {k: v.item() for k, v in parts.items()} == {k: v.item() for k, v in wanted.items()}
    assert not any(part.requires_grad for part in parts.values())
    expected = 0.9 * wanted["kd"] + 0.05 * wanted["gcrd"] + 2 * wanted["lsp"]
    torch.testing.assert_close(total, expected)
    total.backward()
    assert {name.split(".")[1] for name, _ in objective.named_parameters()} == {"gcrd"}


def test_index_and_other_options_reach_the_losses() -> None:
    data = batch()
    index = torch.arange(5)
    total, _ = WeightedSum(fit=(1.0, FitNetLoss(6, 6, head="identity")))(
        h_s=data["h_s"], h_t=data["h_s"].detach() + 1, index=index
    )
    wanted = graphkd.functional.fitnet_loss(data["h_s"], data["h_s"].detach() + 1, index=index)
    assert total == wanted


def test_wrapped_losses_get_their_arguments() -> None:
    data = batch()
    expected, _ = WeightedSum(kd=(1.0, KDLoss()))(**data)
    wrapped = torch.compile(KDLoss(), backend="eager")
    total, _ = WeightedSum(kd=(1.0, wrapped))(**data)
    torch.testing.assert_close(total, expected)

    class Own(nn.Module):
        """A loss with an attribute called ``module``."""

        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(2, 2)

        def forward(self, z_s: torch.Tensor, z_t: torch.Tensor) -> torch.Tensor:
            return KDLoss()(z_s, z_t)

    total, _ = WeightedSum(own=(1.0, Own()))(**data)
    torch.testing.assert_close(total, expected)


def test_what_it_refuses() -> None:
    data = batch()
    objective = WeightedSum(kd=(1.0, KDLoss()), lsp=(1.0, LSPLoss()))
    with pytest.raises(TypeError, match=r"'lsp' \(LSPLoss\) needs edge_index="):
        objective(**{k: v for k, v in data.items() if k != "edge_index"})
    with pytest.raises(TypeError, match=r"no loss takes edge_indx=.*edge_index"):
        objective(**data, edge_indx=1)
    with pytest.raises(ValueError, match="at least one term"):
        WeightedSum()
    for bad in (KDLoss(), (1.0,), (1.0, "kd"), ("1", KDLoss()), (True, KDLoss())):
        with pytest.raises(TypeError, match="'kd'"):
            WeightedSum(kd=bad)
    with pytest.raises(ValueError, match="finite"):
        WeightedSum(kd=(float("nan"), KDLoss()))
    with pytest.raises(ValueError, match="decay"):
        WeightedSum(kd=(1.0, KDLoss()), decay=1.0)
    with pytest.raises(ValueError, match="'kd' must return a scalar"):
        WeightedSum(kd=(1.0, KDLoss(reduction="none")))(z_s=data["z_s"], z_t=data["z_t"])


def test_errors_name_the_term() -> None:
    data = batch()
    objective = WeightedSum(soft=(1.0, KDLoss()), hint=(1.0, FitNetLoss(6, 8)))
    with pytest.raises(ValueError, match="WeightedSum, loss 'hint': FitNetLoss: h_t has width 5"):
        objective(**{**data, "h_t": torch.randn(30, 5)})
    with pytest.raises(IndexError, match="WeightedSum, loss 'soft': kd_loss: "):
        objective(**data, index=torch.tensor([30]))
    several = "loss 'soft': kd_loss: z_t must be a tensor.*It holds 2 tensors.*MultiTeacherLoss"
    for z_t in ([data["z_t"]] * 2, {"gcn": data["z_t"], "gat": (data["z_t"],)}):
        with pytest.raises(TypeError, match=several):
            objective(**{**data, "z_t": z_t})
    with pytest.raises(TypeError, match=r"got list. Convert it with torch.as_tensor"):
        objective(**{**data, "z_t": data["z_t"].tolist()})


def test_any_argument_may_be_named() -> None:
    class Odd(nn.Module):
        def forward(self, h_s: torch.Tensor, loss: float, what: float, key: float) -> torch.Tensor:
            return h_s.sum() * loss * what * key

    h_s = torch.ones(2, 1)
    assert WeightedSum(odd=(1.0, Odd()))(h_s=h_s, loss=2.0, what=3.0, key=4.0)[0] == 48


def gradient_norm(value: torch.Tensor, h_s: torch.Tensor) -> float:
    return torch.autograd.grad(value, h_s, retain_graph=True)[0].norm().item()


@pytest.mark.parametrize("n", [30, 300])
def test_balanced_terms_pull_as_hard_as_the_task(n: int) -> None:
    """Three losses with gradients of different orders of magnitude, at two numbers of nodes."""
    data = batch(n)
    task = nn.functional.cross_entropy(data["z_s"], data["y"])
    raw = {}
    for name, loss in {
        "at": AttentionTransferLoss(),
        "gsp": GlobalLSPLoss(),
        "gcrd": GCRDLoss(6, 8),
    }.items():
        raw[name] = gradient_norm(loss(data["h_s"], data["h_t"]), data["h_s"])
        objective = WeightedSum(term=(1.0, loss), balance=True)
        total, _ = objective(task_loss=task, **data)
        balanced = gradient_norm(total, data["h_s"])
        assert balanced == pytest.approx(gradient_norm(task, data["h_s"]), rel=1e-2)
    assert max(raw.values()) / min(raw.values()) > 20


def test_balancing_moves_in_training_only_and_survives_a_checkpoint() -> None:
    data = batch()
    task = nn.functional.cross_entropy(data["z_s"], data["y"])
    objective = WeightedSum(kd=(1.0, KDLoss()), at=(1.0, AttentionTransferLoss()), balance=True)
    assert [factor.item() for factor in objective.factors().values()] == [1.0, 1.0]
    objective(task_loss=task, **data)
    factors = objective.factors()
    objective.eval()(**data)
    with torch.no_grad():
        objective.train()(task_loss=task, **data)
    assert objective.factors() == factors
    other = copy.deepcopy(objective)
    other.reset_parameters()
    assert [factor.item() for factor in other.factors().values()] == [1.0, 1.0]
    other.load_state_dict(objective.state_dict())
    assert other.factors() == factors
    assert pickle.loads(pickle.dumps(objective)).factors() == factors
    assert repr(other) == repr(objective)
    halved = [c.item() for c in copy.deepcopy(other).half().factors().values()]
    assert halved == [c.item() for c in factors.values()]
    assert all(c.dtype == torch.float32 for c in other.double().factors().values())


class Constant(nn.Module):
    """A loss whose gradient is the same everywhere."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, h_s: torch.Tensor) -> torch.Tensor:
        return (self.scale * h_s).sum()


def test_balancing_is_clamped_finite_and_detached() -> None:
    data = batch()
    task = nn.functional.cross_entropy(data["z_s"], data["y"])
    objective = WeightedSum(
        none=(1.0, Constant(0.0)), weak=(1.0, Constant(1e-20)), strong=(1.0, Constant(1e10)),
        balance=True,
    )  # fmt: skip
    with pytest.warns(UserWarning, match=r"loss 'weak' needs the factor .*e\+1"):
        objective(task_loss=task, h_s=data["h_s"])
    factors = [f.item() for f in objective.factors().values()]
    assert factors == pytest.approx([1, 1e10, 1e-10])
    assert all(not f.requires_grad for f in objective.factors().values())
    before = objective.factors()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warned once
        objective(task_loss=task * torch.nan, h_s=data["h_s"])
        objective(task_loss=0 * task, h_s=data["h_s"])
    assert objective.factors() == before


def test_a_step_without_a_gradient_does_not_bias_the_factor() -> None:
    data = batch()
    task = nn.functional.cross_entropy(data["z_s"], data["y"])
    objective = WeightedSum(kd=(1.0, KDLoss()), fit=(1.0, FitNetLoss(6, 8)), balance=True)
    nothing = torch.zeros(30, dtype=torch.bool)
    for _ in range(3):
        objective(task_loss=task, **data, index=nothing)
    assert [factor.item() for factor in objective.factors().values()] == [1.0, 1.0]
    once = copy.deepcopy(objective)
    for _ in range(2):
        objective(task_loss=task, **data)
        objective(task_loss=task, **data, index=nothing)
    once(task_loss=task, **data)
    for name, factor in once.factors().items():
        torch.testing.assert_close(objective.factors()[name], factor)


def test_balancing_under_float16_measures_what_float32_does() -> None:
    """Gradients of means over many rows lie below float16's least number, those of sums above."""
    n, student, classify = 20000, nn.Linear(6, 8), nn.Linear(8, 4)
    x, y, h_t, z_t = torch.randn(n, 6), torch.arange(n) % 4, torch.randn(n, 8), torch.randn(n, 4)
    factors = []
    for half in (False, True):
        objective = WeightedSum(
            kd=(1.0, KDLoss()), at=(1.0, AttentionTransferLoss()), strong=(1.0, Constant(1e3)),
            balance=True,
        )  # fmt: skip
        with torch.autocast("cpu", dtype=torch.float16, enabled=half):
            h_s = student(x)
            z_s = classify(h_s)
            task = nn.functional.cross_entropy(z_s, y)
            objective(task_loss=task, h_s=h_s, h_t=h_t, z_s=z_s, z_t=z_t)
        factors.append(torch.stack([*objective.factors().values()]))
    assert factors[0][1] > 1000
    torch.testing.assert_close(*factors, rtol=1e-2, atol=0)


def test_outputs_of_a_compiled_student_side_by_side() -> None:
    torch._dynamo.reset()
    body, classify, data = nn.Linear(6, 6), nn.Linear(6, 4), batch()

    @functools.partial(torch.compile, backend="aot_eager")
    def student(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = body(x)
        return h, classify(h)

    h_s, z_s = student(torch.randn(30, 6))
    task = nn.functional.cross_entropy(z_s, data["y"])
    with pytest.raises(ValueError, match=r"side by side.*call the last layer on h_s outside"):
        WeightedSum(kd=(1.0, KDLoss()), balance=True)(
            task_loss=task, h_s=h_s, z_s=z_s, z_t=data["z_t"]
        )


def test_balancing_refuses_what_it_cannot_compare() -> None:
    data = batch()
    task = nn.functional.cross_entropy(data["z_s"], data["y"])
    objective = WeightedSum(kd=(1.0, KDLoss()), balance=True)
    with pytest.raises(TypeError, match="needs task_loss="):
        objective(**data)
    with pytest.raises(TypeError, match="needs h_s="):
        objective(task_loss=task, z_s=data["z_s"], z_t=data["z_t"])
    with pytest.raises(ValueError, match="'kd' does not depend"):
        objective(task_loss=task, **{**data, "z_s": torch.randn(30, 4)})
    with pytest.raises(ValueError, match="task_loss does not depend"):
        objective(task_loss=torch.ones(()), **data)


@pytest.mark.parametrize("form", ["chain", "pairs", "flow"])
def test_balancing_at_several_embeddings_counts_those_with_a_gradient(form: str) -> None:
    """A chain starts at the features; in pairs, the end of one pair is the start of the next."""
    data = batch()
    x, h, z = torch.randn(30, 6), data["h_s"], data["z_s"]
    first, second, third = torch.randn(30, 6), torch.randn(30, 6), torch.randn(30, 4)
    loss, h_s, h_t = {
        "chain": (TINEDLoss(), (x, h, z), (first, second, third)),
        "pairs": (TINEDLoss(), [(x, h), (h, z)], [(first, second), (second, third)]),
        "flow": (FSPLoss(), (x, h), (first, second)),
    }[form]
    data |= {"h_s": h_s, "h_t": h_t}
    ends = [h] if form == "flow" else [h, z]
    task = nn.functional.cross_entropy(z, data["y"])
    objective = WeightedSum(term=(1.0, loss), balance=True)
    total, _ = objective(task_loss=task, **data)
    norms = [
        torch.cat([g.flatten() for g in torch.autograd.grad(value, ends, retain_graph=True)]).norm()
        for value in (task, total)
    ]
    torch.testing.assert_close(norms[0], norms[1], rtol=1e-3, atol=0)
    cut = [tuple(h.detach() for h in part) for part in h_s] if form == "pairs" else (x, h.detach())
    with pytest.raises(TypeError, match="with a gradient; got float32 tensor"):
        objective(task_loss=task, **{**data, "h_s": cut, "h_t": h_t[:2]})
