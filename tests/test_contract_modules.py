"""What the Module of every loss must do beside what its function does, on each row of the table."""

import copy
import io
import pickle

import pytest
import torch

from tests.contract import Loss, every


@every(where=lambda loss: loss.projects)
@pytest.mark.parametrize("index", [None, torch.tensor([], dtype=torch.long), torch.zeros(9) > 0])
def test_without_rows_every_parameter_gets_a_zero_gradient(
    loss: Loss, options: dict, index: torch.Tensor | None
) -> None:
    """Then DistributedDataParallel, which waits for all gradients, goes on."""
    if index is not None and not loss.row_wise:
        pytest.skip("it takes no index")
    module = loss.build(**options).double()
    h_s, h_t, edge_index = loss.inputs(0 if index is None else 9, dims=(5, 7))
    chosen = {} if index is None else {"index": index}
    value = loss.call_module(module, h_s, h_t, edge_index, **chosen)
    value.backward()
    assert value == 0
    assert h_s.grad.count_nonzero() == 0
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert (parameter.grad == 0).all(), name


@every(variants=True)
def test_modules_round_trip(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs(dtype=torch.float32)
    module = loss.build(h_s.size(1), h_t.size(1), **options)
    loss.call_module(module, h_s, h_t, edge_index)  # gives BatchNorm its statistics
    module.eval()
    expected = loss.call_module(module, h_s, h_t, edge_index)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    loaded = loss.build(h_s.size(1), h_t.size(1), **options).eval()
    loaded.load_state_dict(torch.load(file, weights_only=True))
    copies = (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded)
    for other in copies:
        assert torch.equal(loss.call_module(other, h_s, h_t, edge_index), expected)
        assert repr(other) == repr(module)
    for value in options.values():
        assert str(value) in repr(module)
    wide = module.to(torch.float64)
    assert loss.call_module(wide, h_s.double(), h_t.double(), edge_index).dtype == torch.float64
    torch.testing.assert_close(loss.call_module(wide.float(), h_s, h_t, edge_index), expected)


@every(variants=True)
def test_the_module_is_the_function(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    module = loss.build_as_function(h_s, h_t, **options).double()
    index = {"index": torch.tensor([3, 1, 4])} if loss.row_wise else {}
    assert torch.equal(
        loss.call_module(module, h_s, h_t, edge_index, **index),
        loss.call(h_s, h_t, edge_index, **index, **options),
    )
