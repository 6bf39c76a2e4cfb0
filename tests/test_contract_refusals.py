"""The inputs that every loss must refuse, tried on each row of the contract table."""

import pytest
import torch

import graphkd
from tests.contract import Loss, every


@every()
@pytest.mark.parametrize("shapes", [((8, 5), (9, 5)), ((1, 5), (8, 5)), ((8, 1), (5, 1))], ids=str)
def test_row_counts_differ(loss: Loss, options: dict, shapes: tuple) -> None:
    h_s, h_t = torch.randn(shapes[0]), torch.randn(shapes[1])
    edge_index = torch.zeros(2, 1, dtype=torch.long)
    with pytest.raises(ValueError, match=r"\(.*\) and \(.*\)") as error:
        loss.call(h_s, h_t, edge_index, **options)
    assert str(shapes[0]) in str(error.value)
    assert str(shapes[1]) in str(error.value)


@every()
def test_not_two_dimensional(loss: Loss, options: dict) -> None:
    edge_index = torch.zeros(2, 1, dtype=torch.long)
    for shape in ((8,), (2, 4, 5), ()):
        with pytest.raises(ValueError, match="two-dimensional"):
            loss.call(torch.randn(shape), torch.randn(shape), edge_index, **options)
    with pytest.raises(ValueError, match="at least one column"):
        loss.call(torch.randn(4, 0), torch.randn(4, 0), edge_index, **options)


@every(where=lambda loss: loss.one_width or loss.logits)
def test_widths_differ(loss: Loss, options: dict) -> None:
    with pytest.raises(ValueError, match=r"\(8, 5\) and \(8, 6\)") as error:
        loss.call(torch.randn(8, 5), torch.randn(8, 6), **options)
    if loss.projects:
        assert loss.module.__name__ in str(error.value)


@every()
def test_wrong_types(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    for wrong in (h_s.tolist(), h_s.detach().numpy(), h_s.long(), h_s.bool(), h_s.to(torch.cfloat)):
        with pytest.raises(TypeError, match=r"floating-point|be a tensor|be tensors"):
            loss.call(wrong, h_t, edge_index, **options)
        with pytest.raises(TypeError, match=r"floating-point|be a tensor|be tensors"):
            loss.call(h_s, wrong, edge_index, **options)
    with pytest.raises(TypeError, match="dense"):
        loss.call(h_s.detach().to_sparse(), h_t, edge_index, **options)


@every()
def test_devices_differ(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    with pytest.raises(ValueError, match="cpu and meta"):
        loss.call(h_s, h_t.to("meta"), edge_index, **options)
    if loss.edges:
        with pytest.raises(ValueError, match="cpu and meta"):
            loss.call(h_s, h_t, graphkd.Graph(edge_index, 9).to("meta"), **options)
    if loss.row_wise:
        with pytest.raises(ValueError, match="cpu and meta"):
            loss.call(h_s, h_t, edge_index, **options, index=torch.arange(3).to("meta"))


@every(where=lambda loss: loss.row_wise)
def test_bad_index(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    for index, error, words in (
        (torch.tensor([0, 9]), IndexError, "row 9, but there are 9 rows"),
        (torch.tensor([-1, 2]), IndexError, "row -1"),
        (torch.ones(8, dtype=torch.bool), IndexError, "one entry per (row|anchor)"),
        (torch.ones(9, dtype=torch.uint8), TypeError, "bool"),
        (torch.rand(9), TypeError, "row numbers"),
        ((torch.arange(9) < 4).long(), ValueError, "a mask as integers. Call .bool()"),
        ([0, 1], TypeError, "as_tensor"),
        (torch.zeros(1, 1, dtype=torch.long), ValueError, "one-dimensional"),
    ):
        with pytest.raises(error, match=words):
            loss.call(h_s, h_t, edge_index, **options, index=index)


@every()
def test_bad_options_are_refused_at_construction(loss: Loss, options: dict) -> None:
    for bad in (*([{"reduction": "avg"}] if loss.row_wise else []), *loss.bad_options):
        with pytest.raises(ValueError, match=r"got|Leave it out|reduction"):
            loss.build(**bad)
        h_s, h_t, edge_index = loss.inputs()
        with pytest.raises(ValueError, match=r"got|Leave it out|reduction"):
            loss.call(h_s, h_t, edge_index, **bad)
    if loss.backends:
        for backend in ("cuda", "Triton"):
            with pytest.raises(ValueError, match="'auto'"):
                loss.build(backend=backend)
        with pytest.raises(ValueError, match="at least 1"):
            loss.build(chunk_size=0)
