"""How WeightedSum(balance=True) measures gradients: what the user's hooks see, and float16."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphkd import FitNetLoss, KDLoss, WeightedSum
from graphkd.diagnostics import Doctor

N = 20000


def factors_of(h_s: Tensor, z_s: Tensor, doctor: bool = False) -> Tensor:
    torch.manual_seed(0)
    objective = WeightedSum(kd=(1.0, KDLoss()), fit=(1.0, FitNetLoss(8, 6)), balance=True)
    call = Doctor(objective) if doctor else objective
    task = F.cross_entropy(z_s, torch.arange(len(z_s)) % z_s.size(1))
    h_t, z_t = torch.randn(len(h_s), 6), torch.randn(z_s.shape)
    call(task_loss=task, h_s=h_s, h_t=h_t, z_s=z_s, z_t=z_t)
    return torch.stack([*objective.factors().values()])


@pytest.mark.parametrize("doctor", [False, True])
def test_hooks_see_true_gradients(doctor: bool) -> None:
    classify, seen = nn.Linear(8, 4), []
    for hooked in (False, True):
        h_s = torch.randn(50, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
        if hooked:
            h_s.register_hook(lambda g: seen.append(g.norm()) or g.clamp(-1, 1))
        factors = factors_of(h_s, classify(h_s), doctor)
        task = F.cross_entropy(classify(h_s), torch.arange(50) % 4)
        if not hooked:
            free, largest = factors, torch.autograd.grad(task, h_s)[0].norm()
    torch.testing.assert_close(factors, free)
    torch.testing.assert_close(seen[0], largest)


def test_a_layer_in_float16_between_tensors_in_float32() -> None:
    """No argument is in float16, and autocast has ended; the gradient passes through it."""
    x, first, classify = torch.randn(N, 8), nn.Linear(8, 8), nn.Linear(8, 4)
    factors = []
    for half in (False, True):
        h_s = first(x) / 100
        with torch.autocast("cpu", dtype=torch.float16, enabled=half):
            z_s = 1e-3 * classify(h_s)
        factors.append(factors_of(h_s, z_s.float()))
    torch.testing.assert_close(*factors, rtol=1e-2, atol=0)


def test_a_compiled_layer_in_float16() -> None:
    """Autograd's graph does not show what is inside of compiled code."""
    x, first, classify = torch.randn(N, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def last(h: Tensor, half: bool) -> Tensor:
        with torch.autocast("cpu", dtype=torch.float16, enabled=half):
            return (1e-3 * classify(h)).float()

    h_s = first(x) / 100
    wanted = factors_of(h_s, last(h_s, half=False))
    compiled = torch.compile(last, backend="aot_eager")
    torch.testing.assert_close(factors_of(h_s, compiled(h_s, True)), wanted, rtol=1e-2, atol=0)
