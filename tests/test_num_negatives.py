"""G-CRD with a few drawn keys for all rows: what is drawn, and what the value estimates."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

import graphkd
import graphkd.functional as G
from graphkd.ops.contrast_primitives import infonce, symmetric_infonce
from tests.contract import RELATIVE
from tests.oracles.contrast.gcrd import gcrd


def inputs(n: int = 9, width: int = 5) -> tuple[Tensor, Tensor]:
    h_s, h_t = torch.randn(2, n, width, dtype=torch.float64).unbind()
    return h_s.requires_grad_(), h_t


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(n: int, count: int, seed: int = 0) -> list[int]:
    return torch.randperm(n, generator=seeded(seed))[:count].tolist()


@pytest.mark.parametrize("backend", ["reference", "chunked"])
def test_over_all_draws_the_sum_over_negatives_is_the_exact_one(backend: str) -> None:
    h_s, h_t = inputs(6)
    more = torch.randn(2, 5, dtype=torch.float64)

    def total(few: Tensor | None) -> Tensor:
        return infonce("", h_s, h_t, more, few, 0.4, backend, None, "float32").detach().expm1()

    each = [total(torch.tensor(few)) for few in itertools.permutations(range(6), 3)]
    torch.testing.assert_close(torch.stack(each).mean(0), total(None))
    assert all((rows - total(None)).abs().max() > 1e-3 for rows in each)


@pytest.mark.parametrize("symmetric", [False, True])
def test_as_many_keys_as_rows_are_the_exact_loss(symmetric: bool) -> None:
    h_s, h_t = inputs()
    exact = G.gcrd_loss(h_s, h_t, symmetric=symmetric)
    before = torch.get_rng_state()
    for count in (9, 10, 10**9):
        assert G.gcrd_loss(h_s, h_t, symmetric=symmetric, num_negatives=count) == exact
    assert torch.equal(torch.get_rng_state(), before)


def test_each_call_draws_from_the_generator_or_the_global_one() -> None:
    h_s, h_t = inputs(40)
    loss = graphkd.GCRDLoss(5, 5, head="identity", num_negatives=7)
    own, rest = seeded(3), seeded(3)
    values = [loss(h_s, h_t, generator=own) for _ in range(3)]
    again = [loss(h_s, h_t, generator=rest) for _ in range(3)]
    assert values == again
    assert len(set(values)) == 3
    torch.manual_seed(3)
    assert loss(h_s, h_t) == values[0]
    rows = G.gcrd_loss(h_s, h_t, num_negatives=7, generator=seeded(3), reduction="none")
    torch.testing.assert_close(rows, gcrd(h_s, h_t, drawn=drawn(40, 7, 3)))
    with pytest.raises(TypeError, match=r"generator must be a torch\.Generator"):
        loss(h_s, h_t, generator=3)


@pytest.mark.parametrize("backend", RELATIVE)
@pytest.mark.parametrize("symmetric", [False, True])
def test_further_keys_count_once_each(symmetric: bool, backend: str) -> None:
    h_s, h_t = inputs()
    keys = torch.randn(6, 5, dtype=torch.float64)
    options = {"extra_keys": keys, "symmetric": symmetric, "temperature": 0.3}
    rows = G.gcrd_loss(h_s, h_t, num_negatives=4, generator=seeded(), backend=backend,
                       reduction="none", **options)  # fmt: skip
    wanted = gcrd(h_s, h_t, drawn=drawn(9, 4), **options)
    torch.testing.assert_close(rows, wanted)
    weights = torch.rand(9, dtype=torch.float64)
    torch.testing.assert_close(
        torch.autograd.grad((rows * weights).sum(), h_s),
        torch.autograd.grad((wanted * weights).sum(), h_s),
    )


def test_a_queue_adds_its_keys() -> None:
    loss = graphkd.GCRDLoss(5, 5, head="identity", queue_size=20, num_negatives=4)
    first, (h_s, h_t) = inputs(6), inputs(9)
    loss(*first, ids=torch.arange(6))
    value = loss(h_s, h_t, ids=torch.arange(6, 15), generator=seeded())
    torch.testing.assert_close(value, gcrd(h_s, h_t, extra_keys=first[1], drawn=drawn(9, 4)).mean())


@pytest.mark.parametrize(
    "given",
    [
        {"labels": torch.tensor([3, 0, 3, -1, 0, 70, 3, -1, 1])},
        {"positives": torch.tensor([[0, 0, 4, 8, 8, 2], [1, 2, 8, 4, 3, 2]])},
    ],
    ids=["labels", "positives"],
)
@pytest.mark.parametrize("symmetric", [False, True])
def test_several_positives_stay_exact(given: dict, symmetric: bool) -> None:
    """They add to a row's value what does not depend on the negatives."""
    h_s, h_t = inputs()
    options = {"reduction": "none", "symmetric": symmetric}
    few = {"num_negatives": 4, **options}
    gap = G.gcrd_loss(h_s, h_t, **given, **options) - G.gcrd_loss(h_s, h_t, **options)
    one = G.gcrd_loss(h_s, h_t, **few, generator=seeded())
    several = G.gcrd_loss(h_s, h_t, **few, **given, generator=seeded())
    torch.testing.assert_close(several - one, gap)


def test_the_keys_are_drawn_among_the_selected_rows() -> None:
    h_s, h_t = inputs()
    options = {"num_negatives": 3, "reduction": "none"}
    for index in (torch.tensor([8, 1, 0, 5, 2]), torch.arange(9) % 2 == 0):
        rows = G.gcrd_loss(h_s, h_t, index=index, **options, generator=seeded())
        wanted = gcrd(h_s[index], h_t[index], drawn=drawn(5, 3))
        torch.testing.assert_close(rows, wanted)


@pytest.mark.parametrize("temperature", [0.002, 0.5])
@pytest.mark.parametrize("form", [infonce, symmetric_infonce])
def test_both_sides_learn_in_tiles(form, temperature: float, monkeypatch) -> None:
    """Several tiles of keys and of anchors; at 0.002 the sums need a running maximum."""
    few = torch.tensor([3, 0, 7, 6, 2])

    def values(p: Tensor, q: Tensor, backend: str = "chunked") -> Tensor:
        chunk = 4 if backend == "chunked" else None
        more = q[:3].detach() if backend == "reference" else further
        return form("", p, q, more, few, temperature, backend, chunk, "float32")

    p, q = torch.randn(2, 9, 3, dtype=torch.float64).unbind()
    p, further = p.requires_grad_(), q[:3].clone()
    q.requires_grad_()
    monkeypatch.setattr("graphkd.ops._blocks.BLOCK", 8)
    torch.testing.assert_close(values(p, q), values(p, q, "reference"))
    weights = torch.rand(9, dtype=torch.float64)
    torch.testing.assert_close(*(
        torch.autograd.grad((values(p, q, b) * weights).sum(), (p, q))
        for b in ("chunked", "reference")
    ))  # fmt: skip
    if temperature == 0.5:
        assert gradcheck(values, (p, q))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"num_negatives": 0}, ValueError, "num_negatives must be at least 2"),
        ({"num_negatives": 1}, ValueError, "num_negatives must be at least 2"),
        ({"num_negatives": 2.0}, TypeError, "num_negatives must be an integer"),
        ({"num_negatives": True}, TypeError, "num_negatives must be an integer"),
        ({"num_negatives": 4, "max_samples": 8}, ValueError, "Leave one out"),
    ],
)
def test_wrong_options(options: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        G.gcrd_loss(*inputs(), **options)
    with pytest.raises(error, match=says):
        graphkd.GCRDLoss(5, 5, **options)
