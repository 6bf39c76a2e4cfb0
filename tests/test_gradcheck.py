"""gradcheck in float64 for every loss × kernel × head × backend, and double backward."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import graphkd
from graphkd.heads import HEADS
from tests.contract import Loss, every


@every(variants=True, backends=True)
def test_gradcheck(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs(n=6)
    # A median jumps and is detached, so that the gradient is checked at a fixed bandwidth.
    options = {k: v for k, v in options.items() if (k, v) != ("gamma", "median")}
    # The interpreter is slow: a direction at random takes the place of every entry.
    fast = options.get("backend") == "triton"
    assert gradcheck(lambda h: loss.call(h, h_t, edge_index, **options), (h_s,), fast_mode=fast)
    if loss.row_wise:
        assert gradcheck(lambda h: loss.rows(h, h_t, edge_index, **options), (h_s,), fast_mode=fast)


@every(variants=True, backends=True)
def test_gradcheck_with_constant_zero_rows(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs(n=6)
    options = {k: v for k, v in options.items() if (k, v) != ("gamma", "median")}
    hole = torch.zeros(1, h_s.size(1), dtype=h_s.dtype)

    def value(h: torch.Tensor) -> torch.Tensor:
        return loss.call(torch.cat([hole, h[1:]]), h_t, edge_index, **options)

    assert gradcheck(value, (h_s,), fast_mode=options.get("backend") == "triton")


@every(variants=True, where=lambda loss: loss.smooth)
def test_double_backward_is_right_in_the_reference(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs(n=5)
    if options.get("gamma") == "median":
        options = {**options, "gamma": 0.5}
    if loss.backends:
        options = {**options, "backend": "reference"}
    assert gradgradcheck(lambda h: loss.call(h, h_t, edge_index, **options), (h_s,))


@every(variants=True, where=lambda loss: loss.backends)
def test_double_backward_is_right_or_refused_in_chunks(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs(n=5)
    if options.get("gamma") == "median":
        options = {**options, "gamma": 0.5}
    options = {**options, "backend": "chunked", "chunk_size": 2}
    value = loss.call(h_s, h_t, edge_index, **options)
    (gradient,) = torch.autograd.grad(value, h_s, create_graph=True)
    with pytest.raises(NotImplementedError, match="backend='reference'"):
        torch.autograd.grad(gradient.square().sum(), h_s)


@pytest.mark.parametrize("head", graphkd.GCRDLoss.head_names)
@pytest.mark.parametrize("backend", ["reference", "chunked"])
@pytest.mark.parametrize("training", [True, False])
def test_gcrd_heads_and_student(head: str, backend: str, training: bool) -> None:
    dims = (5, 5) if head == "identity" else (5, 6)
    loss = graphkd.GCRDLoss(*dims, proj_dim=4, head=head, backend=backend, temperature=0.5)
    loss = loss.double().train(training)
    _check_heads(loss, dims)


@pytest.mark.parametrize("head", HEADS)
def test_fitnet_heads_and_student(head: str) -> None:
    dims = (5, 5) if head == "identity" else (5, 6)
    _check_heads(graphkd.FitNetLoss(*dims, head=head).double(), dims)


def _check_heads(loss: torch.nn.Module, dims: tuple[int, int]) -> None:
    h_s = torch.randn(7, dims[0], dtype=torch.float64, requires_grad=True)
    h_t = torch.randn(7, dims[1], dtype=torch.float64)
    edge_index = torch.randint(0, 7, (2, 14))
    names = [name for name, _ in loss.named_parameters()]

    def value(h: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(
            loss, dict(zip(names, parameters, strict=True)), (h, h_t, edge_index)
        )

    parameters = tuple(p.detach().clone().requires_grad_() for p in loss.parameters())
    # The tolerance is wide: a bias before BatchNorm has no effect, so its gradient is rounding.
    assert gradcheck(value, (h_s, *parameters), atol=1e-4)
