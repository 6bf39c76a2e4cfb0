"""What a Tap gives where a model runs several times, and where it warns of a missing gradient."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from graphkd import Tap, freeze
from tests.tapped import Net, X


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.net, self.reentrant = nn.Linear(4, 4), Net(F.relu_), reentrant

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.net, self.first(x), use_reentrant=self.reentrant)


def test_a_checkpoint_without_reentrance_keeps_the_gradient() -> None:
    model = Checkpointed(False)
    grads = []
    for recomputed in (False, True):
        model.zero_grad()
        with Tap(model, "net.lin") as tap:
            z = model(X) if recomputed else model.net(model.first(X))
            rows = tap.value
            (z.sum() + rows.square().sum()).backward()
            assert tap.value is rows  # not those of the backward pass
        grads.append([p.grad.clone() for p in model.parameters()])
    torch.testing.assert_close(*grads)


def under(without: Any) -> Callable[[Net], None]:
    def run(net: Net) -> None:
        with without():
            net(X)

    return run


def evaluated(left: bool, recording: bool) -> Callable[[Net], None]:
    def run(net: Net) -> None:
        net(X)
        net.eval()
        with torch.set_grad_enabled(recording):
            net(X)
            net(X)
        net.train(not left)

    return run


def checkpointed(net: Net) -> None:
    checkpoint(net, X.clone().requires_grad_(), use_reentrant=True)


NO_GRADIENT = {
    "no_grad": (under(torch.no_grad), "carry no gradient.*use_reentrant=False.*freeze on a teach"),
    "inference_mode": (under(torch.inference_mode), "carry no gradient"),
    "a reentrant checkpoint": (checkpointed, "carry no gradient.*use_reentrant=True"),
    "an evaluation": (evaluated(False, False), "last ran without gradients.*Read tap.value before"),
    "a model left in eval mode": (evaluated(True, False), "last ran without gradients"),
    "an evaluation with gradients": (evaluated(True, True), "last ran in eval mode.*Read tap.val"),
}


@pytest.mark.parametrize(("run", "match"), NO_GRADIENT.values(), ids=NO_GRADIENT.keys())
def test_rows_without_the_gradient_that_was_to_be_expected(run: Any, match: str) -> None:
    net = Net(F.relu_)
    with Tap(net, "lin") as tap:
        run(net)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("error")
            _ = tap.value  # the evaluation's own reading
        with pytest.warns(UserWarning, match=f"Tap: .*layer 'lin' {match}"):
            _ = tap.value


def test_no_warning_where_none_was_to_be_expected() -> None:
    net, teacher = Net(F.relu_), freeze(Net(F.relu_))
    part = Net(F.relu_)
    part.lin.requires_grad_(False)
    with warnings.catch_warnings(), Tap(net, "lin") as tap, Tap(teacher, "lin") as frozen:
        warnings.simplefilter("error")
        for _ in range(2):
            net(X)
            net(X)
            assert tap.value.requires_grad
            net.eval()
            with torch.no_grad():
                net(X)
            assert not tap.value.requires_grad  # of an evaluation, and asked for by it
            net.train()
            with torch.no_grad():
                net(X)
                _ = tap.value
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net(X).sum().backward()
        optimizer.step()
        net.eval()
        with torch.no_grad():
            net(X)
        assert not tap.value.requires_grad  # the trained model is to be a teacher
        both = nn.ModuleDict({"student": nn.Linear(4, 4), "teacher": teacher}).train()
        with Tap(both, "teacher.layer.lin") as inside, torch.no_grad():
            teacher(X)
        assert not inside.value.requires_grad
        teacher(X)
        assert not frozen.value.requires_grad
        with Tap(part, "lin") as below:
            part(X)
            assert not below.value.requires_grad
