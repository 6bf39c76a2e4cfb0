"""Temperatures that are tensors, in Modules: dtype, device, what learns, and what is set later."""

import copy
import pickle

import pytest
import torch

import graphkd
import graphkd.functional as G

H_S, H_T = torch.randn(6, 4), torch.randn(6, 4)
BUILT = {
    "KD": graphkd.KDLoss,
    "G-CRD": lambda temperature: graphkd.GCRDLoss(4, 4, head="identity", temperature=temperature),
}


@pytest.mark.parametrize("name", BUILT)
def test_a_tensor_keeps_its_value_as_a_number_does(name: str) -> None:
    wanted = BUILT[name](0.07)(H_S, H_T)
    for convert in ("half", "bfloat16", "double", "float"):
        for dtype in (torch.float32, torch.float64):
            loss = BUILT[name](torch.tensor(0.07, dtype=dtype))
            getattr(loss, convert)()
            assert loss.temperature.dtype == dtype
            torch.testing.assert_close(loss(H_S, H_T), wanted)
    assert not list(loss.state_dict())
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(other(H_S, H_T), loss(H_S, H_T))
        assert other.temperature is not loss.temperature


@pytest.mark.parametrize("name", BUILT)
def test_a_tensor_moves_with_the_module(name: str) -> None:
    loss = torch.nn.ModuleList([BUILT[name](torch.tensor(0.5))]).to("meta", torch.float64)[0]
    assert (loss.temperature.device.type, loss.temperature.dtype) == ("meta", torch.float32)


def test_a_temperature_of_each_row_is_not_rounded() -> None:
    each = torch.linspace(0.07, 1, 6)
    wanted = G.kd_loss(H_S, H_T, temperature=each)
    assert torch.equal(graphkd.KDLoss(each).half()(H_S, H_T), wanted)


def test_a_tensor_compiles() -> None:
    h_s = H_S.clone().requires_grad_()
    for name in BUILT:
        loss = BUILT[name](torch.tensor(0.5))
        value = torch.compile(loss, fullgraph=True, backend="aot_eager")(h_s, H_T)
        torch.testing.assert_close(value, loss(h_s, H_T))


def test_what_is_computed_from_a_parameter_goes_into_the_call() -> None:
    log, h_s = torch.zeros((), requires_grad=True), H_S.clone().requires_grad_()
    for name, words in (("KD", "in each call of the loss"), ("G-CRD", "graphkd.functional with")):
        with pytest.raises(ValueError, match=rf"Pass an nn.Parameter; .*logarithm, .*{words}"):
            BUILT[name](log.exp())
        loss = BUILT[name](log.exp().detach())
        with pytest.raises(ValueError, match=words):
            loss.temperature = log.exp()
        learned = BUILT[name](torch.nn.Parameter(torch.tensor(0.5)))
        for _ in range(2):
            learned(h_s, H_T).backward()
    kd = graphkd.KDLoss()
    for _ in range(2):
        (
            kd(h_s, H_T, temperature=log.exp()) + G.gcrd_loss(h_s, H_T, temperature=log.exp())
        ).backward()
    assert log.grad != 0


@pytest.mark.parametrize("name", BUILT)
def test_it_may_be_set_to_a_number_in_each_epoch(name: str) -> None:
    for made in (torch.tensor(4.0), torch.nn.Parameter(torch.tensor(4.0)), 4.0):
        loss = BUILT[name](made)
        learns = list(loss.parameters())
        for temperature in (2.0, 0.5, 1, torch.tensor(3.0)):
            loss.temperature = temperature
            torch.testing.assert_close(loss(H_S, H_T), BUILT[name](temperature)(H_S, H_T))
        assert all(a is b for a, b in zip(learns, loss.parameters(), strict=True))
    for made in (torch.tensor(4.0), 4.0):
        loss = BUILT[name](made)
        loss.temperature = torch.tensor(0.5)
        torch.testing.assert_close(loss(H_S, H_T), BUILT[name](0.5)(H_S, H_T))
        assert loss.to("meta").temperature.device.type == "meta"
    with torch.device("meta"):
        loss = BUILT[name](torch.tensor(4.0))
    assert loss.to_empty(device="cpu").temperature.device.type == "cpu"
