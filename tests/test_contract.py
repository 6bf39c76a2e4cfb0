"""The difficult inputs that every loss must survive, tried on each row of the contract table."""

import inspect
from itertools import product

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from tests.contract import DTYPES, Loss, every


def backward(value: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    (gradient,) = torch.autograd.grad(value.sum(), h)
    return gradient


@every(variants=True, backends=True)
def test_zero_rows(loss: Loss, options: dict) -> None:
    for dtype in DTYPES:
        h_s, h_t, edge_index = loss.inputs(dtype=dtype)
        h_s.data[3], h_t[5] = 0, 0
        value = loss.call(h_s, h_t, edge_index, **options)
        gradient = backward(value, h_s)
        assert value.isfinite(), dtype
        assert gradient.isfinite().all(), dtype
        if loss.scale_free or options.get("kernel") in ("cosine", "poly"):
            assert (gradient[3] == 0).all(), dtype


@every(variants=True, backends=True)
def test_all_rows_zero(loss: Loss, options: dict) -> None:
    for dtype in DTYPES:
        h_s, h_t, edge_index = loss.inputs(dtype=dtype)
        h_s.data.zero_()
        value = loss.call(h_s, h_t, edge_index, **options)
        assert value.isfinite(), dtype
        assert backward(value, h_s).isfinite().all(), dtype


@every(variants=True, backends=True)
def test_no_rows(loss: Loss, options: dict) -> None:
    for dtype in DTYPES:
        h_s, h_t, edge_index = loss.inputs(n=0, dtype=dtype)
        for reduction in ("mean", "sum", "none") if loss.row_wise else (None,):
            reduce = {"reduction": reduction} if reduction else {}
            value = loss.call(h_s, h_t, edge_index, **options, **reduce)
            assert value.sum() == 0, dtype
            assert value.requires_grad, dtype
            assert backward(value, h_s).shape == h_s.shape, dtype


@every(variants=True, backends=True)
def test_one_row(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs(n=1)
    value = loss.call(h_s, h_t, edge_index, **options)
    assert value.isfinite()
    assert backward(value, h_s).isfinite().all()
    if loss.name in ("gcrd", "lsp"):
        assert value == 0


@every(variants=True, backends=True, where=lambda loss: loss.edges)
def test_no_edges(loss: Loss, options: dict) -> None:
    h_s, h_t, _ = loss.inputs()
    value = loss.call(h_s, h_t, torch.empty(2, 0, dtype=torch.long), **options)
    gradient = backward(value, h_s)
    assert value.isfinite()
    assert gradient.isfinite().all()
    if loss.edges_only:
        assert value == 0
        assert (gradient == 0).all()


@every(variants=True, where=lambda loss: loss.row_wise)
def test_empty_and_repeated_index(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    value = loss.call(h_s, h_t, edge_index, **options, index=torch.zeros(9, dtype=torch.bool))
    assert value == 0
    backward(value, h_s)
    rows = loss.call(
        h_s, h_t, edge_index, **options, index=torch.tensor([2, 2, 5]), reduction="none"
    )
    assert rows.shape == (3,)
    torch.testing.assert_close(rows[0], rows[1])


class Named(torch.Tensor):
    """As libraries around torch make them, to know an image from a mask."""


@every(variants=True, backends=True)
def test_layouts_do_not_matter(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    expected = loss.call(h_s, h_t, edge_index, **options)
    transposed = h_s.detach().t().contiguous().t().requires_grad_()
    strided = torch.stack([h_t, h_t], dim=2)[:, :, 0]
    edges = edge_index.t().contiguous().t().int()
    value = loss.call(transposed, strided, edges, **options)
    torch.testing.assert_close(value, expected)
    gradient = backward(expected, h_s)
    torch.testing.assert_close(backward(value, transposed), gradient)
    negative = torch._neg_view(-h_s.detach()).requires_grad_()  # as of a conjugate's imaginary part
    value = loss.call(negative, torch._neg_view(-h_t), edge_index, **options)
    torch.testing.assert_close(backward(value, negative), gradient)
    named = h_s.detach().clone().as_subclass(Named).requires_grad_()
    value = loss.call(named, h_t.clone().as_subclass(Named), edge_index, **options)
    torch.testing.assert_close(backward(value, named).as_subclass(torch.Tensor), gradient)
    row = torch.randn(1, h_s.size(1), dtype=h_s.dtype)
    expanded = row.expand(9, -1).requires_grad_()
    value = loss.call(expanded, h_t, edge_index, **options)
    torch.testing.assert_close(value, loss.call(row.repeat(9, 1), h_t, edge_index, **options))
    assert backward(value, expanded).isfinite().all()


@every(variants=True, backends=True)
def test_nan_and_inf_are_not_hidden(loss: Loss, options: dict) -> None:
    for side, bad in product((0, 1), (torch.nan, torch.inf)):
        h_s, h_t, edge_index = loss.inputs()
        edge_index = torch.cat([edge_index, torch.tensor([[0, 1], [1, 0]])], dim=1)
        (h_s.data, h_t)[side][0, 0] = bad
        value = loss.call(h_s, h_t, edge_index, **options)
        if bad is torch.inf and not loss.poisonable:
            continue
        if bad is torch.inf and options.get("kernel") == "rbf":
            continue  # exp(-inf) is zero, a correct value for an infinitely far row
        if bad is torch.inf and options.get("task") == "multilabel":
            continue  # a logit of +inf is a certain label
        assert not value.isfinite(), (side, bad, value)


@every(variants=True, backends=True)
def test_nan_shows_with_a_single_row(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs(n=1)
    h_s.data[0, 0] = torch.nan
    assert loss.call(h_s, h_t, edge_index, **options).isnan()


@every(variants=True, backends=True)
def test_a_teacher_from_inference_mode(loss: Loss, options: dict) -> None:
    h_s, _, edge_index = loss.inputs()
    with torch.inference_mode():
        _, h_t, _ = loss.inputs()
        given = loss.more(h_s, h_t).items()
        more = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in given}
    loss.call(h_s, h_t, edge_index, **more, **options).backward()
    module = loss.build(h_s.size(1), h_t.size(1), **options).double()
    takes = inspect.signature(module.forward).parameters
    more = {name: value for name, value in more.items() if name in takes}
    loss.call_module(module, h_s, h_t, edge_index, **more).backward()


@every(variants=True, backends=True)
def test_the_teacher_gets_no_gradient(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    h_t.requires_grad_()
    loss.call(h_s, h_t, edge_index, **options).backward()
    assert h_t.grad is None
    assert h_s.grad is not None
    h_s.grad = None
    dims = (h_s.size(1), h_t.size(1))
    module = loss.build(*dims, **options).double()
    loss.call_module(module, h_s, h_t, edge_index).backward()
    assert h_t.grad is None
    assert h_s.grad is not None
    for name, parameter in module.named_parameters():
        frozen = not parameter.requires_grad  # a part of the teacher that the Module holds
        assert (parameter.grad is None) == frozen, name


@every(variants=True)
def test_result_dtype(loss: Loss, options: dict) -> None:
    for dtype in DTYPES:
        h_s, h_t, edge_index = loss.inputs(dtype=dtype)
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        assert loss.call(h_s, h_t, edge_index, **options).dtype == wide
        assert loss.call(h_s, h_t.half(), edge_index, **options).dtype == wide
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert loss.call(h_s, h_t, edge_index, **options).dtype == wide


@every(variants=True, backends=True)
def test_autocast_changes_nothing(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs(dtype=torch.float32)
    value = loss.call(h_s, h_t, edge_index, **options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss.call(h_s, h_t, edge_index, **options)
    assert torch.equal(value, inside)
    assert torch.equal(backward(value, h_s), backward(inside, h_s))
    module = loss.build(h_s.size(1), h_t.size(1), **options).eval()
    value = loss.call_module(module, h_s, h_t, edge_index)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss.call_module(module, h_s, h_t, edge_index)
    assert torch.equal(value, inside)


@every(variants=True, where=lambda loss: loss.backends)
def test_chunk_sizes(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    expected = loss.call(h_s, h_t, edge_index, **options, backend="reference")
    gradient = backward(expected, h_s)
    for size in (1, 2, 4, 8, 9, 10, 27, 28):
        value = loss.call(h_s, h_t, edge_index, **options, backend="chunked", chunk_size=size)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(backward(value, h_s), gradient)


@every(variants=True, backends=True)
def test_stateless(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    first = loss.call(h_s, h_t, edge_index, **options)
    once = torch.autograd.grad(first, h_s, retain_graph=True)[0]
    twice = torch.autograd.grad(first, h_s)[0]
    assert torch.equal(once, twice)
    for _ in range(2):
        loss.call(h_s, h_t, edge_index, **options).backward()
    torch.testing.assert_close(h_s.grad, 2 * once)


@every(variants=True, backends=True)
def test_deterministic(loss: Loss, options: dict) -> None:
    n = 40 if options.get("backend") == "triton" else 200
    h_s, h_t, edge_index = loss.inputs(n=n, dtype=torch.float32)
    torch.use_deterministic_algorithms(True)
    try:
        values = [loss.call(h_s, h_t, edge_index, **options) for _ in range(2)]
        gradients = [backward(value, h_s) for value in values]
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(value, values[0]) for value in values)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)


@every(variants=True, backends=True)
def test_functional_transforms(loss: Loss, options: dict) -> None:
    if options.get("backend") == "scatter":
        pytest.skip("torch.func cannot transform torch_scatter's operators")
    h_s, h_t, edge_index = loss.inputs()

    def value(h: torch.Tensor) -> torch.Tensor:
        return loss.call(h, h_t, edge_index, **options)

    expected = backward(value(h_s), h_s)
    plain = h_s.detach()
    torch.testing.assert_close(torch.func.grad(value)(plain), expected)
    _, pull = torch.func.vjp(value, plain)
    torch.testing.assert_close(pull(torch.ones((), dtype=plain.dtype))[0], expected)
    again = checkpoint(value, h_s, use_reentrant=False)
    torch.testing.assert_close(backward(again, h_s), expected)
    with forward_ad.dual_level():
        try:
            tangent = forward_ad.unpack_dual(value(forward_ad.make_dual(plain, plain))).tangent
        except NotImplementedError as error:
            refusal = str(error)
        else:
            torch.testing.assert_close(tangent, (expected * plain).sum())
            return
    assert "no forward-mode derivative" in refusal
    assert options["backend"] in ("chunked", "triton")  # what runs in blocks may refuse


@every(variants=True, backends=True, keep=lambda loss, o: o.get("backend") != "triton")
def test_another_default_device(loss: Loss, options: dict) -> None:
    """All tensors are made where the inputs are, and every draw is the same."""
    h_s, h_t, edge_index = loss.inputs(dtype=torch.float32)
    pair, more = loss.arrange(h_s, h_t), loss.more(h_s, h_t)
    index = {"index": torch.tensor([3, 1, 4])} if loss.row_wise else {}
    module = loss.build_as_function(h_s, h_t, **options)

    def results() -> list[torch.Tensor]:
        torch.manual_seed(0)
        graph = (edge_index.clone(),) if loss.edges else ()  # a clone is not in the cache
        takes = inspect.signature(module.forward).parameters
        values = [
            loss.function(*pair, *graph, **more, **index, **options),
            module(*pair, *graph, **{k: v for k, v in more.items() if k in takes}),
        ]
        return [*values, torch.autograd.grad(sum(values), h_s, retain_graph=True)[0]]

    expected = results()
    with torch.device("meta"):
        found = results()
    assert all(map(torch.equal, found, expected))
