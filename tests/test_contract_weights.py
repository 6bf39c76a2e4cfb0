"""Weights of rows, tried on each row of the contract table."""

import inspect

import pytest
import torch
from torch.testing import assert_close

from tests.contract import Loss, every

WEIGHT = torch.tensor([0.5, 3.0, 0.0, 1.0, 2.5, 0.25, 7.0, 1.0, 0.0], dtype=torch.float64)


def of_rows(loss: Loss) -> bool:
    return loss.row_wise


def weighted_mean(loss: Loss, inputs: tuple, weight: torch.Tensor, options: dict) -> torch.Tensor:
    """Σ w_i L_i over Σ w_i by the values per row, with the share that each row has in the mean."""
    if loss.terms is not None:
        terms = loss.terms(*inputs, **options)
        return sum((weight * r).mean() * c.sum() / (weight * c).sum() for r, c in terms)
    rows = loss.call(*inputs, **options, reduction="none")
    counts = loss.counted(*inputs)
    plain = loss.call(*inputs, **options)
    part = (weight * rows).sum() / rows.sum()
    return plain * part * counts.sum() / (weight * counts).sum()


def sees_weights(loss: Loss, options: dict) -> bool:
    """Whether the backend may matter: G-CRD's takes the weights, others give rows for them."""
    return loss.name == "gcrd" or options.get("backend") in (None, "chunked")


@every(variants=True, backends=True, where=of_rows, keep=sees_weights)
def test_weights_multiply_the_rows(loss: Loss, options: dict) -> None:
    inputs = loss.inputs()
    h_s, weight = inputs[0], WEIGHT.clone().requires_grad_()
    rows = loss.call(*inputs, **options, reduction="none")
    for reduction, expected in (
        ("none", weight * rows),
        ("sum", (weight * rows).sum()),
        ("mean", weighted_mean(loss, inputs, weight, options)),
    ):
        value = loss.call(*inputs, **options, reduction=reduction, weight=weight)
        assert_close(value, expected)
        upstream = torch.linspace(1, 2, 9, dtype=value.dtype) if value.dim() else None
        found = torch.autograd.grad(value, (h_s, weight), upstream)
        assert_close(found, torch.autograd.grad(expected, (h_s, weight), upstream, True))


@every(variants=True, where=of_rows)
def test_equal_weights_are_none(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    index = torch.tensor([7, 2, 5, 1])
    for more in ({}, {"index": index}):
        expected = loss.call(h_s, h_t, edge_index, **options, **more)
        for equal in (3.0, 1e-300, 1e300):
            weight = torch.full((9,), equal, dtype=torch.float64)
            value = loss.call(h_s, h_t, edge_index, **options, **more, weight=weight)
            assert_close(value, expected)
            found, right = (torch.autograd.grad(x, h_s, None, True)[0] for x in (value, expected))
            assert_close(found, right)


@every(variants=True, where=of_rows)
def test_index_selects_weights_too(loss: Loss, options: dict) -> None:
    inputs, index = loss.inputs(), torch.tensor([7, 2, 5, 1])
    rows = loss.call(*inputs, **options, index=index, reduction="none")
    value = loss.call(*inputs, **options, index=index, reduction="none", weight=WEIGHT)
    assert_close(value, rows * WEIGHT[index])
    mask = torch.zeros(9, dtype=torch.bool).index_fill(0, index, True)
    value = loss.call(*inputs, **options, index=mask, weight=WEIGHT, reduction="sum")
    rows = loss.call(*inputs, **options, index=mask, reduction="none")
    assert_close(value, (rows * WEIGHT[mask]).sum())


@every(where=of_rows)
def test_weights_from_inference_mode(loss: Loss, options: dict) -> None:
    inputs, index = loss.inputs(), torch.tensor([7, 2, 5, 1])
    with torch.inference_mode():
        weight, same = WEIGHT.clone(), index.clone()
    for reduction in ("none", "mean"):
        value, expected = (
            loss.call(*inputs, **options, reduction=reduction, weight=w, index=i).sum()
            for w, i in ((weight, same), (WEIGHT, index))
        )
        found, right = (torch.autograd.grad(x, inputs[0])[0] for x in (value, expected))
        assert_close(found, right)


@every(variants=True, where=of_rows)
def test_without_weight_the_mean_is_zero(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    value = loss.call(h_s, h_t, edge_index, **options, weight=torch.zeros(9))
    assert value == 0
    (gradient,) = torch.autograd.grad(value, h_s)
    assert (gradient == 0).all()


@every(variants=True, where=of_rows)
def test_modules_take_weights(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    module = loss.build_as_function(h_s, h_t, **options).double()
    index = torch.tensor([7, 2, 5, 1])
    for more in ({}, {"index": index}):
        value = loss.call_module(module, h_s, h_t, edge_index, **more, weight=WEIGHT)
        assert_close(value, loss.call(h_s, h_t, edge_index, **options, **more, weight=WEIGHT))


@every(where=of_rows)
def test_float32_rows_take_other_weights(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs(dtype=torch.float32)
    expected = loss.call(h_s, h_t, edge_index, **options, weight=WEIGHT.float())
    assert expected.dtype == torch.float32
    for dtype in (torch.float64, torch.bfloat16):
        value = loss.call(h_s, h_t, edge_index, **options, weight=WEIGHT.to(dtype))
        assert value.dtype == torch.float32
        assert_close(value, expected)


BAD = [
    (torch.ones(9, dtype=torch.bool), TypeError, r"\.float\(\)"),
    (2.0, TypeError, "multiply"),
    (torch.ones(9).to_sparse(), TypeError, r"\.to_dense\(\)"),
    ([1.0] * 9, TypeError, "as_tensor"),
    (torch.ones(8), ValueError, r"\(9,\)"),
    (torch.ones(9, 1), ValueError, r"\.view\(-1\)"),
    (torch.full((9,), -1.0), ValueError, "negative"),
    (torch.full((9,), torch.nan), ValueError, "nan"),
]


@every(where=of_rows)
@pytest.mark.parametrize(("bad", "error", "told"), BAD)
def test_bad_weights_are_named(loss: Loss, options: dict, bad, error, told) -> None:
    h_s, h_t, edge_index = loss.inputs()
    with pytest.raises(error, match="weight") as caught:
        loss.call(h_s, h_t, edge_index, **options, weight=bad)
    assert "got" in str(caught.value)
    caught.match(told)
    module = loss.build_as_function(h_s, h_t, **options).double()
    with pytest.raises(error, match=loss.module.__name__ if loss.projects else "weight"):
        loss.call_module(module, h_s, h_t, edge_index, weight=bad)


@every(where=lambda loss: not loss.row_wise)
def test_losses_without_rows_refuse_weights(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    with pytest.raises(ValueError, match="weight has one number per row"):
        loss.call(h_s, h_t, edge_index, **options, weight=torch.ones(9))
    module = loss.build_as_function(h_s, h_t, **options).double()
    with pytest.raises(ValueError, match="weight has one number per row"):
        loss.call_module(module, h_s, h_t, edge_index, weight=torch.ones(9))


@every()
def test_weight_is_an_argument(loss: Loss, options: dict) -> None:
    for form in (loss.function, loss.module.forward):
        parameter = inspect.signature(form).parameters["weight"]
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert parameter.default is None
