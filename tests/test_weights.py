"""``graphkd.weights``: against loops in float64, and with hostile input."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import graphkd
from graphkd import weights

EDGES = torch.tensor([[1, 2, 0, 2, 2, 3, 4], [0, 0, 1, 1, 1, 3, 0]])  # a duplicate and a self loop
N, C = 6, 4  # node 5 is isolated
Y = torch.tensor([0, 3, -1, 2, 1, -100])


def logits(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(3 * torch.randn(2, N, C, generator=generator, dtype=torch.float64).to(dtype))


def distribution(z: Tensor, temperature: float = 1.0) -> list[float]:
    powers = [math.exp(value / temperature) for value in z.tolist()]
    return [power / sum(powers) for power in powers]


def information(p: list[float]) -> float:
    return -sum(x * math.log(x) for x in p if x)


def divergence(q: list[float], p: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(q, p, strict=True))


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    lengths = math.hypot(*a) * math.hypot(*b)
    return dot / lengths if lengths else 0.0


def tensor(numbers: list[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_confidence_and_entropy() -> None:
    _, z = logits()
    rows = [distribution(row, 2.0) for row in z]
    assert_close(weights.confidence(z, temperature=2.0), tensor([max(p) for p in rows]))
    expected = tensor([information(p) for p in rows])
    assert_close(weights.entropy(z, temperature=2.0, normalize=False), expected)
    assert_close(weights.entropy(z, temperature=2.0), expected / math.log(C))


@pytest.mark.parametrize("mask", [None, torch.tensor([True, False, True, True, True, True])])
def test_agreement(mask: Tensor | None) -> None:
    _, z = logits()
    expected = []
    for i, row in enumerate(z.tolist()):
        known = Y[i] >= 0 and (mask is None or mask[i])
        expected.append(float(row.index(max(row)) == Y[i]) if known else 0.25)
    found = weights.agreement(z, Y, mask=mask, unlabelled=0.25)
    assert_close(found, tensor(expected))
    assert {0.0, 0.25, 1.0} == set(found.tolist())


@pytest.mark.parametrize("given", [None, [0.5, 2.0, 0.0, 1.0, 3.0, 0.1]])
def test_boosting(given: list[float] | None) -> None:
    z_s, z_t = logits()
    w = given or [1.0] * N
    e = [
        1 - math.exp(-0.1 * divergence(distribution(t), distribution(s)))
        for s, t in zip(z_s, z_t, strict=True)
    ]
    error = sum(a * b for a, b in zip(w, e, strict=True)) / sum(w)
    assert error < 0.5
    alpha = math.log((1 - error) / error)
    raised = [a * math.exp(alpha * b) for a, b in zip(w, e, strict=True)]
    weight = None if given is None else tensor(given)
    found = weights.boosting(z_s, z_t, weight, beta=0.1)
    assert_close(found, tensor(raised) * N / sum(raised))
    assert_close(weights.boosting_vote(z_s, z_t, weight, beta=0.1), tensor([alpha])[0])


def test_boosting_of_the_best_and_of_a_bad_student() -> None:
    z_s, z_t = logits()
    for student, beta, vote in ((z_t, 1.0, 36.8414), (z_s, 100.0, 0.0), (-z_t, 1e9, 0.0)):
        assert_close(weights.boosting(student, z_t, beta=beta), torch.ones(N, dtype=z_t.dtype))
        found = weights.boosting_vote(student, z_t, beta=beta)
        assert_close(found.item(), vote, atol=1e-3, rtol=0)
        assert found > 0


def test_hardness() -> None:
    z_s, z_t = logits()
    p_s, p_t = ([distribution(row) for row in z] for z in (z_s, z_t))
    h_s, h_t = ([information(p) for p in rows] for rows in (p_s, p_t))
    h_s, h_t = ([h / max(all_) for h in all_] for all_ in (h_s, h_t))
    expected = tensor(
        [
            1 - math.exp(-2 * cosine(p_t[j], p_t[i]) * math.sqrt(h_t[i] * h_s[i]) / h_t[j])
            for j, i in EDGES.T.tolist()
        ]
    )
    assert_close(weights.hardness(z_s, z_t, EDGES, alpha=2.0), expected)
    graph = graphkd.Graph(EDGES, N)
    of_graph = weights.hardness(z_s, z_t, graph.edge_index, alpha=2.0)
    assert_close(weights.hardness(z_s, z_t, graph, alpha=2.0), of_graph)
    assert not torch.equal(of_graph, expected)
    adj_t = torch.sparse_coo_tensor(EDGES.flip(0), torch.rand(7), (N, N))
    assert_close(weights.hardness(z_s, z_t, adj_t, alpha=2.0), expected)


def propagated(x: list[list[float]], hops: int) -> list[list[float]]:
    """Features after some hops, by the dense matrix."""
    a = [[float(i == j) for j in range(N)] for i in range(N)]
    for j, i in EDGES.T.tolist():
        a[i][j] += 1
    d = [sum(row) for row in a]
    for _ in range(hops):
        x = [
            [
                sum(a[i][j] * x[j][k] / math.sqrt(d[i] * d[j]) for j in range(N))
                for k in range(len(x[0]))
            ]
            for i in range(N)
        ]
    return x


@pytest.mark.parametrize("hops", [0, 2])
@pytest.mark.parametrize("features", ["signed", "words"])
def test_influence(hops: int, features: str) -> None:
    x, _ = logits()
    if features == "words":
        x = x.relu()
        x[0] = 0
    pairs = tensor([[cosine(a, b) for b in propagated(x.tolist(), hops)] for a in x.tolist()])
    u = pairs.mean(dim=1)
    low = min(float(u.min()), 0.0)
    found = weights.influence(x, EDGES, hops=hops)
    assert_close(found, (u - low) / (u.max() - low))
    # As released: the whole matrix is scaled first.
    scaled = (pairs - pairs.min()) / (pairs.max() - pairs.min())
    released = scaled.sum(dim=1) / scaled.sum(dim=1).max()
    least = float(pairs.min())
    assert_close(weights.influence(x, EDGES, hops=hops, least=least), released)
    if features == "words":
        assert_close(found, released)


@pytest.mark.parametrize("power", [1.0, -0.5, 0.0])
def test_degree(power: float) -> None:
    count = [sum(int(i) == node for i in EDGES[1]) for node in range(N)]
    expected = [max(d, 1 if power < 0 else 0) ** power for d in count]
    for graph in (EDGES, EDGES.int(), graphkd.Graph(EDGES, N)):
        assert_close(weights.degree(graph, N, power=power), torch.tensor(expected))


def every(z_s: Tensor, z_t: Tensor, edges: Tensor) -> dict[str, Tensor]:
    """Each function's weights of these logits and edges; y is the first class."""
    n = z_t.size(0)
    return {
        "confidence": weights.confidence(z_t),
        "entropy": weights.entropy(z_t),
        "agreement": weights.agreement(z_t, torch.zeros(n, dtype=torch.long)),
        "boosting": weights.boosting(z_s, z_t),
        "hardness": weights.hardness(z_s, z_t, edges),
        "influence": weights.influence(z_t, edges),
        "degree": weights.degree(edges, n, power=-2.0),
    }


def test_every_public_function_is_tried() -> None:
    assert {*every(*logits(), EDGES), "boosting_vote"} == set(weights.__all__)


MASKED = torch.full((N, C), -torch.inf)
PLAIN, OTHER = (
    z.float() / 3 for z in logits()
)  # the same in every run: 1e38 times OTHER is finite
HOSTILE = {
    "one class": (PLAIN[:, :1], OTHER[:, :1]),
    "zeros": (torch.zeros(N, C), torch.zeros(N, C)),
    "masked classes": (torch.eye(N, C) - torch.tensor([0, 0, 0, torch.inf]),) * 2,
    "one class left": (MASKED.clone().fill_diagonal_(1.0),) * 2,
    "nothing left": (PLAIN, MASKED),
    "a class that one side has lost": (MASKED.clone().index_fill_(1, torch.tensor(0), 1.0),
                                       torch.zeros(N, C)),
    "huge": (1e30 * PLAIN, 1e38 * OTHER),
    "half": (PLAIN.half(), 6e4 * torch.eye(N, C).half()),
    "no rows": (torch.zeros(0, C), torch.zeros(0, C)),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_finite_and_not_negative(name: str) -> None:
    z_s, z_t = (z.clone().requires_grad_() for z in HOSTILE[name])
    edges = EDGES if z_t.size(0) else EDGES[:, :0]
    if "left" in name or "masked" in name:  # such logits are no features
        weigh = {key: value for key, value in every(z_s, z_t, edges).items() if key != "influence"}
    else:
        weigh = every(z_s, z_t, edges)
    for key, weight in weigh.items():
        assert weight.shape == ((edges.size(1),) if key == "hardness" else (z_t.size(0),))
        assert weight.dtype == torch.float32
        assert not weight.requires_grad
        assert bool(((weight >= 0) & weight.isfinite()).all()), key
        if key not in ("hardness", "degree", "boosting"):
            assert bool((weight <= 1).all()), key


def test_nothing_known_is_one_thing() -> None:
    """A row of −∞ alone is a row of equal logits; nothing to compare makes equal weights."""
    assert_close(weights.confidence(MASKED), torch.full((N,), 1 / C))
    assert_close(weights.entropy(MASKED), torch.ones(N))
    assert_close(weights.influence(torch.zeros(N, C), EDGES), torch.ones(N))
    assert_close(weights.boosting(*logits(), torch.zeros(N)), torch.zeros(N, dtype=torch.float64))


def test_nan_shows() -> None:
    z_s, z_t = logits()
    z_t[5] = torch.nan  # the isolated node
    found = every(z_s, z_t, EDGES)
    alone = torch.arange(N) == 5
    for name in ("confidence", "entropy", "agreement"):
        assert torch.equal(found[name].isnan(), alone), name
    for name in ("boosting", "hardness", "influence"):  # the largest or the mean is unknown
        assert bool(found[name].isnan().all()), name


def test_huge_weights_do_not_overflow() -> None:
    z_s, z_t = logits()
    plain = weights.boosting(z_s, z_t)
    for scale in (1e-300, 1e308):
        weight = torch.full((N,), scale, dtype=torch.float64)
        assert_close(weights.boosting(z_s, z_t, weight), plain)


def test_weights_go_into_losses() -> None:
    z_s, z_t = logits()
    for weight in every(z_s, z_t, EDGES).values():
        if weight.size(0) == N:
            graphkd.functional.fitnet_loss(z_s.requires_grad_(), z_t, weight=weight).backward()


def test_compiled() -> None:
    z_s, z_t = logits()

    def three(z_s: Tensor, z_t: Tensor) -> Tensor:
        own = weights.entropy(z_t) + weights.boosting(z_s, z_t) + weights.degree(EDGES, N)
        return own + weights.influence(z_t, EDGES) + weights.hardness(z_s, z_t, EDGES).sum()

    compiled = torch.compile(three, fullgraph=True, backend="aot_eager")
    assert_close(compiled(z_s, z_t), three(z_s, z_t))


X = PLAIN


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: weights.confidence(X[0]), ValueError, "confidence: z must be two-dimensional"),
        (lambda: weights.confidence(X, temperature=0.0), ValueError, "temperature must be pos"),
        (lambda: weights.entropy(X.long()), TypeError, "entropy: z must hold real floating-point"),
        (lambda: weights.agreement(X, X[:, 0]), TypeError, "agreement: y must be an int64"),
        (lambda: weights.agreement(X, Y[:3]), ValueError, "y must have one entry per row"),
        (lambda: weights.agreement(X, Y + 1), IndexError, "below 4; got 4"),
        (lambda: weights.agreement(X, Y, mask=Y), TypeError, "mask must be a boolean"),
        (lambda: weights.agreement(X, Y, mask=Y[:2] > 0), ValueError, "mask must have one entry"),
        (lambda: weights.agreement(X, Y, unlabelled=-1), ValueError, "finite and at least 0"),
        (lambda: weights.boosting(X, X[:3]), ValueError, "one row per node"),
        (lambda: weights.boosting(X, X, X[:, 0]), ValueError, "weight must be finite and not neg"),
        (lambda: weights.boosting_vote(X, X, beta=0), ValueError, "boosting_vote: beta must be"),
        (lambda: weights.hardness(X, X, EDGES + 9), IndexError, "names source node"),
        (lambda: weights.hardness(X, X, EDGES, alpha=-1.0), ValueError, "alpha must be positive"),
        (lambda: weights.influence(X, EDGES, hops=-1), ValueError, "hops must be at least 0"),
        (lambda: weights.influence(X, EDGES, least=math.nan), ValueError, "least must be finite"),
        (lambda: weights.degree(EDGES, 3), IndexError, "there are 3"),
        (lambda: weights.degree(EDGES, N, power="1"), TypeError, "power must be a number"),
        (lambda: weights.degree(graphkd.Graph(EDGES, N), 9), ValueError, "the graph has 6"),
    ],
)
def test_refusals(call, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
