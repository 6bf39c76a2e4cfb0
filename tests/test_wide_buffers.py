"""Averages and banks are float32 or wider, whatever the Module is converted to or loaded from."""

import copy

import pytest
import torch
from torch import nn

import graphkd

NARROW = (torch.float16, torch.bfloat16)
BUILT = {
    "WeightedSum": lambda: graphkd.WeightedSum(balance=True, kd=(1.0, graphkd.KDLoss())),
    "KRD": graphkd.KRDLoss,
    "CRD": lambda: graphkd.CRDLoss(4, 4, 6, head="identity"),
    "CRD with entries": lambda: graphkd.CRDLoss(
        4, 4, 6, 4, head="identity", bank_s=torch.randn(6, 4), bank_t=torch.randn(6, 4)
    ),
}


def dtypes(loss: nn.Module) -> set[torch.dtype]:
    return {buffer.dtype for buffer in loss.buffers()}


@pytest.mark.parametrize("name", BUILT)
def test_they_stay_wide(name: str) -> None:
    loss = BUILT[name]()
    kept = loss.state_dict()
    for narrow in NARROW:
        state = copy.deepcopy(loss).to(narrow).state_dict()
        assert state.keys() == kept.keys()
        assert all(torch.equal(state[key], kept[key]) for key in kept)
        loaded = BUILT[name]()
        loaded.load_state_dict({k: v.to(narrow) for k, v in kept.items()}, assign=True)
        assert not dtypes(loaded) & {*NARROW}
    assert dtypes(loss.double()) == {torch.float64}


@pytest.mark.parametrize("name", BUILT)
def test_they_start_wide(name: str) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        loss = BUILT[name]()
    finally:
        torch.set_default_dtype(before)
    assert not dtypes(loss) & {*NARROW}


@pytest.mark.parametrize("narrow", NARROW)
def test_a_small_step_of_a_bank_is_not_lost(narrow: torch.dtype) -> None:
    loss = graphkd.CRDLoss(4, 4, 6, head="identity", momentum=0.9999)
    h_s, h_t, other = torch.randn(6, 4), torch.randn(6, 4), copy.deepcopy(loss).to(narrow)
    for _ in range(10):
        for one in (loss, other):
            one(h_s, h_t)
    assert torch.equal(other.bank_s, loss.bank_s)
    assert torch.equal(other.bank_t, loss.bank_t)
