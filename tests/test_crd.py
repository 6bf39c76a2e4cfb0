"""CRD: agreement with the released code, its draws, its refusals, its memory."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import graphkd
import graphkd.functional as G
from graphkd.functional.contrast.banks import _log_z
from graphkd.similarity import unit_rows


def released(
    v_s: Tensor, v_t: Tensor, bank_s: Tensor, bank_t: Tensor, ids: Tensor, z: float, drawn: Tensor
) -> Tensor:
    """The authors' memory and criterion on unit rows: ``drawn`` [B, K + 1] begins with ``ids``."""
    total, m = 0, drawn.size(1) - 1
    noise = m / bank_s.size(0)
    for anchors, bank in ((v_s, bank_t), (v_t, bank_s)):
        p = ((bank[drawn] @ anchors.unsqueeze(2)).squeeze(2) / 0.07).exp() / z
        drawn_to = (p[:, 0] / (p[:, 0] + noise + 1e-7)).log().sum()
        driven_from = (noise / (p[:, 1:] + noise + 1e-7)).log().sum()
        total = total - (drawn_to + driven_from) / len(ids)
    return total


def data(n: int = 12, nodes: int = 40, d: int = 6) -> tuple[Tensor, ...]:
    h_s, h_t = torch.randn(2, n, d, dtype=torch.float64).unbind()
    banks = (unit_rows(torch.randn(nodes, d, dtype=torch.float64)) for _ in range(2))
    return h_s.requires_grad_(), h_t, *banks, torch.randperm(nodes)[:n]


def test_the_value_is_the_released_one_with_its_z_and_all_negatives() -> None:
    h_s, h_t, bank_s, bank_t, ids = data()
    others = torch.arange(40).expand(12, -1)
    others = others[others != ids[:, None]].view(12, 39)
    drawn = torch.cat([ids[:, None], others], dim=1)
    units = unit_rows(h_s), unit_rows(h_t)
    first = ((bank_t[drawn] @ units[0].unsqueeze(2)) / 0.07).exp()
    theirs = released(*units, bank_s, bank_t, ids, float(40 * first.mean()), drawn)
    ours = G.crd_loss(h_s, h_t, bank_s, bank_t, ids, log_z=float(first.mean().log()))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    gradients = [torch.autograd.grad(value, h_s, retain_graph=True)[0] for value in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("backend", ["reference", "chunked"])
def test_a_draw_gives_the_released_value_of_the_same_negatives(backend: str) -> None:
    h_s, h_t, bank_s, bank_t, ids = data()
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randperm(40, generator=generator)[:16]
    assert torch.isin(ids, drawn[:-1]).any()
    assert not torch.isin(ids, drawn).all()
    negatives = [drawn[drawn != i] if i in drawn else drawn[:-1] for i in ids]
    together = torch.cat([ids[:, None], torch.stack(negatives)], dim=1)
    units, z = (unit_rows(h_s), unit_rows(h_t)), 40 * torch.e**1.5
    theirs = released(*units, bank_s, bank_t, ids, z, together)
    options = {"num_negatives": 15, "log_z": 1.5, "backend": backend}
    ours = G.crd_loss(h_s, h_t, bank_s, bank_t, ids, generator=generator.manual_seed(3), **options)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_a_draw_of_all_is_exact_and_follows_torchs_seed() -> None:
    h_s, h_t, bank_s, bank_t, ids = data()
    exact = G.crd_loss(h_s, h_t, bank_s, bank_t, ids)
    for most in (39, 40, 1000):
        assert torch.equal(G.crd_loss(h_s, h_t, bank_s, bank_t, ids, num_negatives=most), exact)
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(G.crd_loss(h_s, h_t, bank_s, bank_t, ids, num_negatives=5))
    assert values[0] == values[1] != values[2]


def test_the_variance_of_a_draw_is_the_documented_one() -> None:
    h_s, h_t, bank_s, bank_t, ids = data(n=30, nodes=400, d=16)
    k, options = 50, {"temperature": 0.5, "log_z": 0.0}
    draws = torch.stack(
        [
            G.crd_loss(h_s.detach(), h_t, bank_s, bank_t, ids, num_negatives=k, **options)
            for _ in range(2000)
        ]
    )
    # Both directions share a draw, so that an entry's part of their sum gives the variance.
    logits = [unit_rows(h.detach()) @ b.T / 0.5 for h, b in ((h_s, bank_t), (h_t, bank_s))]
    added = sum(F.softplus(x - torch.tensor(float(k)).log()).mean(dim=0) for x in logits)
    expected = k * (1 - k / 400) * added.var()
    torch.testing.assert_close(draws.var(), expected, rtol=0.15, atol=0)


@pytest.mark.parametrize("d", [1, 2, 3, 16, 128])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_z_is_nearly_the_mean_over_independent_directions(d: int, temperature: float) -> None:
    """Compare with the series of the hypergeometric function 0F1(; d/2; 1/(4τ²))."""
    k, b, z = torch.arange(400, dtype=torch.float64), d / 2, 1 / (4 * temperature**2)
    half = torch.tensor(b, dtype=torch.float64)
    terms = k * torch.tensor(z).double().log() - (k + 1).lgamma() - (half + k).lgamma()
    exact = terms.logsumexp(0) + half.lgamma()
    ours = _log_z(d, temperature, None, exact)
    assert -1e-12 <= ours - exact <= (0.7 if d < 128 else 0.0065)


def test_ids_are_those_of_all_rows_and_follow_the_index() -> None:
    h_s, h_t, bank_s, bank_t, ids = data()
    index = torch.tensor([7, 1, 3])
    torch.testing.assert_close(
        G.crd_loss(h_s, h_t, bank_s, bank_t, ids, index=index),
        G.crd_loss(h_s[index], h_t[index], bank_s, bank_t, ids[index].int()),
    )
    whole = G.crd_loss(h_s, h_t, bank_s[:12], bank_t[:12])
    torch.testing.assert_close(
        whole, G.crd_loss(h_s, h_t, bank_s[:12], bank_t[:12], torch.arange(12))
    )


def test_refusals() -> None:
    h_s, h_t, bank_s, bank_t, ids = data()
    for nodes, error, words in (
        (torch.full((12,), 40), IndexError, "node 40, but the banks hold 40"),
        (-ids - 1, IndexError, "node -"),
        (ids[:5], ValueError, "one entry per row"),
        (ids.float(), TypeError, "batch.n_id"),
        (None, TypeError, "must be all 40 nodes"),
    ):
        with pytest.raises(error, match=words):
            G.crd_loss(h_s, h_t, bank_s, bank_t, nodes)
    for banks, error in (
        ((bank_s[:, :5], bank_t[:, :5]), ValueError),
        ((bank_s, bank_t[:9]), ValueError),
        ((bank_s.tolist(), bank_t), TypeError),
        ((bank_s, bank_t.long()), TypeError),
        ((bank_s.to("meta"), bank_t), ValueError),
    ):
        with pytest.raises(error, match="bank_"):
            G.crd_loss(h_s, h_t, *banks, ids)
    for wrong, error in (
        ({"momentum": 1.5}, ValueError),
        ({"momentum": "half"}, TypeError),
        ({"log_z": "first"}, TypeError),
        ({"num_negatives": 2.5}, TypeError),
        ({"bank_s": torch.ones(20, 5)}, ValueError),
        ({"bank_t": [1.0]}, TypeError),
    ):
        with pytest.raises(error, match=next(iter(wrong))):
            graphkd.CRDLoss(5, 7, 20, 4, **wrong)
    with pytest.raises(ValueError, match="num_nodes must be at least 1"):
        graphkd.CRDLoss(5, 7, 0)
    pair = torch.nn.Linear(5, 3), torch.nn.Linear(7, 3)
    with pytest.raises(ValueError, match=r"Pass proj_dim=3\."):
        graphkd.CRDLoss(5, 7, 20, 4, head=pair)(torch.randn(20, 5), torch.randn(20, 7))


MEASURE = """
import torch, graphkd
from pathlib import Path
torch.set_num_threads(1)
def peak_kib():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
def step(n):
    loss = graphkd.CRDLoss(128, 128, n, temperature=0.5)
    h_s, h_t = torch.randn(n, 128, requires_grad=True), torch.randn(n, 128)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_kib()
    loss(h_s, h_t).backward()
    return peak_kib() - before
step(64)
print(step(10_000))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_full_batch_takes_less_than_one_matrix_of_pairs() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 150 * 1024  # KiB; the matrix has 390,625
