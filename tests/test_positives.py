"""G-CRD with several positives: by label and by pairs, against loops over rows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import graphkd
import graphkd.functional as G
from graphkd.functional.contrast.positives import LabelPositives
from tests.contract import RELATIVE
from tests.oracles._shared import unit


def oracle(
    h_s: Tensor, h_t: Tensor, sets: list[set[int]], temperature: float = 0.075, extra=()
) -> Tensor:
    """The formula as written, for the sets P(i)."""
    keys = [unit(x) for x in (*h_t, *extra)]
    rows = []
    for i, anchor in enumerate(unit(x) for x in h_s):
        logits = torch.stack([anchor.dot(key) / temperature for key in keys])
        log_p = torch.log_softmax(logits, 0)
        rows.append(-sum(log_p[p] for p in sets[i] | {i}) / len(sets[i] | {i}))
    return torch.stack(rows)


def by_label(labels: list[int]) -> list[set[int]]:
    return [{j for j, b in enumerate(labels) if a == b >= 0} for a in labels]


def by_pair(n: int, pairs: Tensor) -> list[set[int]]:
    sets: list[set[int]] = [set() for _ in range(n)]
    for anchor, key in pairs.T.tolist():
        sets[anchor].add(key)
    return sets


def inputs(n: int = 9, width: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    h_s, h_t = torch.randn(2, n, width, dtype=torch.float64, generator=generator).unbind()
    return h_s.requires_grad_(), h_t


LABELS = [3, 0, 3, -1, 0, 70, 3, -1, 1]
PAIRS = torch.tensor([[0, 0, 0, 4, 8, 8, 2, 5, 5], [1, 1, 0, 8, 4, 3, 2, 6, 7]])
SETS = {"labels": by_label(LABELS), "positives": by_pair(9, PAIRS)}
GIVEN = {"labels": torch.tensor(LABELS), "positives": PAIRS}


@pytest.mark.parametrize("backend", RELATIVE)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", GIVEN)
def test_values_and_gradients(kind: str, symmetric: bool, backend: str) -> None:
    h_s, h_t = inputs()
    options = {"symmetric": symmetric, "backend": backend, "temperature": 0.3}
    rows = G.gcrd_loss(h_s, h_t, reduction="none", **options, **{kind: GIVEN[kind]})
    wanted = oracle(h_s, h_t, SETS[kind], 0.3)
    if symmetric:
        wanted = (wanted + oracle(h_t, h_s, SETS[kind], 0.3)) / 2
    torch.testing.assert_close(rows, wanted)
    weights = torch.rand(9, dtype=torch.float64)
    torch.testing.assert_close(
        torch.autograd.grad((rows * weights).sum(), h_s),
        torch.autograd.grad((wanted * weights).sum(), h_s),
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 10**6))
def test_labels_are_the_pairs_of_equal_labels(n: int, classes: int, seed: int) -> None:
    h_s, h_t = inputs(n, seed=seed)
    labels = torch.randint(-1, classes, (n,), generator=torch.Generator().manual_seed(seed))
    pairs = ((labels[:, None] == labels) & (labels >= 0)).nonzero().T
    extra = torch.randn(3, 5, dtype=torch.float64)
    one, other = (
        G.gcrd_loss(h_s, h_t, reduction="none", extra_keys=extra, **kind)
        for kind in ({"labels": labels}, {"positives": pairs})
    )
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one, oracle(h_s, h_t, by_label(labels.tolist()), extra=extra))


@pytest.mark.parametrize("kind", GIVEN)
def test_only_itself_is_the_plain_loss_to_the_last_bit(kind: str) -> None:
    h_s, h_t = inputs()
    alone = {"labels": torch.arange(9), "positives": torch.empty(2, 0, dtype=torch.long)}
    plain = G.gcrd_loss(h_s, h_t)
    assert G.gcrd_loss(h_s, h_t, **{kind: alone[kind]}) == plain
    assert G.gcrd_loss(h_s, h_t, labels=torch.full((9,), -1)) == plain
    assert G.gcrd_loss(h_s, h_t, positives=torch.arange(9).expand(2, 9)) == plain


@pytest.mark.parametrize("index", [torch.tensor([8, 4, 0, 2]), torch.arange(9) % 2 == 0])
@pytest.mark.parametrize("kind", GIVEN)
def test_index_keeps_the_positives_among_the_selected(kind: str, index: Tensor) -> None:
    h_s, h_t = inputs()
    chosen = index.nonzero().view(-1) if index.dtype == torch.bool else index
    place = {int(row): k for k, row in enumerate(chosen)}
    sets = [{place[p] for p in SETS[kind][int(row)] if p in place} for row in chosen]
    wanted = oracle(h_s[chosen], h_t[chosen], sets)
    given = {kind: GIVEN[kind]}
    rows = G.gcrd_loss(h_s, h_t, index=index, reduction="none", **given)
    torch.testing.assert_close(rows, wanted)
    loss = graphkd.GCRDLoss(5, 5, head="identity", reduction="none")
    torch.testing.assert_close(loss(h_s, h_t, index=index, **given), wanted)


def test_sampled_rows_keep_their_positives() -> None:
    h_s, h_t = inputs()
    generator = torch.Generator().manual_seed(4)
    drawn = torch.randperm(9, generator=torch.Generator().manual_seed(4))[:6]
    value = G.gcrd_loss(h_s, h_t, max_samples=6, generator=generator, positives=PAIRS)
    torch.testing.assert_close(value, G.gcrd_loss(h_s, h_t, index=drawn, positives=PAIRS))


@pytest.mark.parametrize("backend", ["reference", "chunked"])
@pytest.mark.parametrize("kind", GIVEN)
def test_both_heads_learn_by_the_right_gradients(kind: str, backend: str) -> None:
    loss = graphkd.GCRDLoss(5, 5, 4, head="mlp", backend=backend, symmetric=True).double().eval()
    h_s, h_t = inputs()

    def value(h_s: Tensor, *parameters: Tensor) -> Tensor:
        named = dict(zip(dict(loss.named_parameters()), parameters, strict=True))
        return torch.func.functional_call(loss, named, (h_s, h_t), {kind: GIVEN[kind]})

    assert torch.autograd.gradcheck(value, (h_s, *loss.parameters()))


@pytest.mark.parametrize("kind", GIVEN)
def test_zero_rows_and_no_rows(kind: str) -> None:
    h_s, h_t = inputs()
    with torch.no_grad():
        h_s[[0, 5]] = 0
        h_t[[0, 6]] = 0
    value = G.gcrd_loss(h_s, h_t, **{kind: GIVEN[kind]})
    torch.testing.assert_close(value, oracle(h_s, h_t, SETS[kind]).mean())
    (gradient,) = torch.autograd.grad(value, h_s)
    assert (gradient[[0, 5]] == 0).all()
    assert gradient.isfinite().all()
    none = {"labels": torch.empty(0, dtype=torch.long), "positives": PAIRS[:, :0]}
    empty = G.gcrd_loss(h_s[:0], h_t[:0], **{kind: none[kind]})
    assert empty == 0
    assert empty.requires_grad


@pytest.mark.parametrize("kind", GIVEN)
def test_compiles_and_transforms(kind: str) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(G.gcrd_loss, fullgraph=True, dynamic=True, backend="aot_eager")
    h_s, h_t = inputs()
    for rows in (9, 8):
        given = {"labels": GIVEN["labels"][:rows], "positives": PAIRS[:, :2]}[kind]
        value = compiled(h_s[:rows], h_t[:rows], **{kind: given})
        torch.testing.assert_close(value, G.gcrd_loss(h_s[:rows], h_t[:rows], **{kind: given}))
    mask = torch.arange(9) % 2 == 0
    loss = graphkd.GCRDLoss(5, 5, 4, head="linear").double()
    masked = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        masked(h_s, h_t, index=mask, **{kind: GIVEN[kind]}),
        loss(h_s, h_t, index=mask, **{kind: GIVEN[kind]}),
    )
    gradient = torch.func.grad(lambda h: G.gcrd_loss(h, h_t, **{kind: GIVEN[kind]}))(h_s)
    (wanted,) = torch.autograd.grad(oracle(h_s, h_t, SETS[kind]).mean(), h_s)
    torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("kind", GIVEN)
def test_precision_and_dtype(kind: str, dtype: torch.dtype) -> None:
    h_s, h_t = (h.detach().to(dtype) for h in inputs())
    value = G.gcrd_loss(h_s, h_t, **{kind: GIVEN[kind]})
    assert value.dtype == torch.float32
    wanted = oracle(h_s.double(), h_t.double(), SETS[kind]).mean()
    torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"labels": torch.zeros(8, dtype=torch.long)}, ValueError, r"\(9,\); got int64"),
        ({"labels": torch.zeros(9)}, TypeError, "labels must be an int64 tensor"),
        ({"labels": [0] * 9}, TypeError, "labels must be an int64 tensor"),
        ({"positives": torch.zeros(4, 2, dtype=torch.long)}, ValueError, "anchors in row 0"),
        ({"positives": torch.zeros(2, 4)}, TypeError, "positives must be an int64 tensor"),
        ({"positives": torch.tensor([[0], [9]])}, IndexError, "names row 9, but there are 9"),
        ({"positives": torch.tensor([[-1], [0]])}, IndexError, "names row -1"),
        ({**GIVEN}, ValueError, "not both"),
        ({"positives": PAIRS, "index": torch.tensor([1, 1])}, ValueError, "named twice"),
    ],
)
def test_wrong_positives(given: dict, error: type[Exception], says: str) -> None:
    h_s, h_t = inputs()
    with pytest.raises(error, match=says):
        G.gcrd_loss(h_s, h_t, **given)
    with pytest.raises(error, match=says):
        graphkd.GCRDLoss(5, 5, head="identity")(h_s, h_t, **given)


def test_a_label_of_more_rows_than_float32_can_count() -> None:
    n, rare = 2**24 + 2**22, 2**22
    q = torch.ones(n, 1)
    positives = LabelPositives("gcrd_loss", torch.zeros(n, dtype=torch.int32))
    q[-rare:] = -1  # a fifth of the rows, all after float32 has stopped to count
    gap = positives.gap(q, q, torch.mul)
    torch.testing.assert_close(gap[[0, -1]], torch.tensor([0.4, 1.6]))
