"""Options of G-CRD that each are tried with all others: weights."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import graphkd
import graphkd.functional as G

N = 9
LABELS = torch.tensor([3, 0, 3, -1, 0, 70, 3, -1, 1])
PAIRS = torch.tensor([[0, 0, 4, 8, 8, 2], [1, 2, 8, 4, 3, 2]])
OTHERS = (
    {"labels": LABELS, "symmetric": True},
    {"positives": PAIRS},
    {"extra_keys": torch.linspace(-1, 1, 15, dtype=torch.float64).view(3, 5), "symmetric": True},
)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    h_s, h_t = torch.randn(2, N, 5, dtype=torch.float64).unbind()
    weight = torch.rand(N, dtype=torch.float64).index_fill(0, torch.tensor([2, 7]), 0)
    return h_s.requires_grad_(), h_t, weight.requires_grad_()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("options", OTHERS, ids=lambda options: next(iter(options)))
def test_weights_go_with_other_options(options: dict) -> None:
    h_s, h_t, weight = inputs()
    index = torch.tensor([8, 2, 0, 4, 3])
    rows = G.gcrd_loss(h_s, h_t, index=index, **options, reduction="none")
    expected = (weight[index] * rows).sum() / weight[index].sum()
    value = G.gcrd_loss(h_s, h_t, index=index, weight=weight, **options)
    assert_close(value, expected)
    found, wanted = (torch.autograd.grad(x, (h_s, weight)) for x in (value, expected))
    assert_close(found, wanted)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_drawn_anchors_keep_their_weights(reduction: str) -> None:
    h_s, h_t, weight = inputs()
    drawn = torch.randperm(N, generator=seeded())[:6]
    options = {"reduction": reduction, "symmetric": True}
    value = G.gcrd_loss(h_s, h_t, weight=weight, max_samples=6, generator=seeded(), **options)
    expected = G.gcrd_loss(h_s[drawn], h_t[drawn], weight=weight[drawn], **options)
    assert_close(value, expected)
    found, wanted = (torch.autograd.grad(x, (h_s, weight)) for x in (value, expected))
    assert_close(found, wanted)


def test_queued_keys_have_no_weight() -> None:
    h_s, h_t, weight = inputs()
    loss = graphkd.GCRDLoss(5, 5, head="identity", queue_size=20)
    loss(h_s, h_t, ids=torch.arange(N), weight=weight)
    index = torch.tensor([8, 2, 0])
    value = loss(h_t, h_s, ids=torch.arange(N, 2 * N), weight=weight, index=index)
    assert_close(value, G.gcrd_loss(h_t, h_s, extra_keys=h_t, weight=weight, index=index))
