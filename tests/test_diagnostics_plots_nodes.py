"""The pictures with a point or a share for nodes: embeddings against scipy, agreement by loops."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import graphkd
from graphkd import diagnostics as D
from tests.plotted import EDGES, H_S, H_T, Z_S, Z_T, N, Y, rows

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure
from scipy.spatial import procrustes

# Embeddings -----------------------------------------------------------------------------------


def offsets(ax) -> Tensor:
    parts = [torch.tensor(c.get_offsets().tolist(), dtype=torch.float64) for c in ax.collections]
    return torch.cat([part.view(-1, 2) for part in parts])


@pytest.mark.parametrize("widths", [(3, 5), (5, 3), (4, 4), (3, 1), (1, 2)])
def test_embeddings_are_aligned_as_scipy_does(widths: tuple[int, int]) -> None:
    h_s, h_t = rows(*widths)
    most = max(widths)
    padded = [
        torch.nn.functional.pad(h.double(), (0, most - h.size(1))).numpy() for h in (h_t, h_s)
    ]
    teacher, student, disparity = procrustes(*padded)
    # The teacher's principal axes, by the singular vectors of its centred rows.
    basis = torch.linalg.svd(torch.from_numpy(teacher))[2][:2].T
    left, right = D.plot_embeddings(h_s, h_t, axes=Figure().subplots(1, 2))
    shown_s, shown_t = (offsets(ax) for ax in (left, right))
    wanted_s, wanted_t = (torch.from_numpy(x) @ basis for x in (student, teacher))
    for k in range(min(2, widths[1])):
        sign = 1.0 if float(shown_t[:, k] @ wanted_t[:, k]) >= 0 else -1.0
        assert_close(shown_t[:, k], sign * wanted_t[:, k])
        assert_close(shown_s[:, k], sign * wanted_s[:, k])
    assert shown_t[:, widths[1] :].eq(0).all()  # there is no second axis
    assert left.get_title() == f"student, disparity {disparity:.2f}"
    assert left.get_xlim() == right.get_xlim()


def test_embeddings_of_any_scale() -> None:
    plain, huge = (
        D.plot_embeddings(scale * H_S.double(), H_T, axes=Figure().subplots(1, 2))[0]
        for scale in (1, 1e200)
    )
    assert_close(offsets(huge), offsets(plain))


def test_embeddings_are_coloured_by_class() -> None:
    _, ax = D.plot_embeddings(H_S, H_T, Y * 3 - 1, axes=Figure().subplots(1, 2))
    _, plain = D.plot_embeddings(H_S, H_T, axes=Figure().subplots(1, 2))
    everyone = offsets(plain)
    assert [c.get_label() for c in ax.collections] == ["-1", "2", "5", "8"]
    for k, cloud in enumerate(ax.collections):
        assert_close(torch.from_numpy(cloud.get_offsets().data), everyone[k == Y])
    assert len({tuple(c.get_facecolor()[0]) for c in ax.collections}) == 4
    _, many = D.plot_embeddings(H_S, H_T, torch.arange(N), axes=Figure().subplots(1, 2))
    looks = [(*c.get_facecolor()[0], c.get_paths()[0].vertices.tobytes()) for c in many.collections]
    assert len(set(looks)) == N


@pytest.mark.parametrize("h", [torch.zeros(6, 2), torch.ones(1, 3), torch.zeros(0, 2)])
def test_embeddings_without_any_spread(h: Tensor) -> None:
    for ax in D.plot_embeddings(h, h, axes=Figure().subplots(1, 2)):
        assert offsets(ax).eq(0).all()


# Agreement ------------------------------------------------------------------------------------


def neighbours(node: int) -> list[int]:
    return [j for j, i in EDGES.T.tolist() if i == node != j]


def share(nodes: list[int], z_s: Tensor = Z_S) -> tuple[float, float]:
    hits = [int(z_s[i].argmax()) == int(Z_T[i].argmax()) for i in nodes]
    p = sum(hits) / len(hits)
    return p, math.sqrt(p * (1 - p) / len(hits))


def bins_of(ax) -> dict[str, tuple[float, float]]:
    """The bins that have nodes: their label, the share, and the standard error."""
    (container,) = ax.containers
    labels = [tick.get_text() for tick in ax.get_xticklabels()]
    segments = container[2][0].get_segments()
    return {
        labels[round(x)]: (y, float(bar[1][1] - y))
        for (x, y), bar in zip(container[0].get_xydata().tolist(), segments, strict=True)
    }


@pytest.mark.parametrize("index", [None, torch.arange(N) % 3 != 1], ids=["all", "some"])
@pytest.mark.parametrize("labels", [None, torch.where(torch.arange(N) % 5 == 0, -1, Y)])
def test_agreement_by_degree_and_homophily(labels: Tensor | None, index: Tensor | None) -> None:
    axes = Figure().subplots(1, 2)
    by_degree, by_homophily = D.plot_agreement(Z_S, Z_T, EDGES, labels, index=index, axes=axes)
    chosen = [i for i in range(N) if index is None or index[i]]
    y = (Z_T.argmax(dim=1) if labels is None else labels).tolist()
    seen = []
    for label, found in bins_of(by_degree).items():
        name, _, count = label[:-1].partition("\n(")
        low, _, high = name.partition("–")
        nodes = [i for i in chosen if int(low) <= len(neighbours(i)) <= int(high or low)]
        assert len(nodes) == int(count)
        assert_close(torch.tensor(found), torch.tensor(share(nodes)))
        seen += nodes
    assert sorted(seen) == chosen  # each node in one bin
    assert 3 <= len(bins_of(by_degree)) <= 6
    if index is None:
        alone = [i for i in range(N) if not neighbours(i)]
        assert N - 1 in alone  # its self loop is no neighbour
        assert f"0\n({len(alone)})" in bins_of(by_degree)
    expected: dict[str, list[int]] = {}
    for i in chosen:
        known = [j for j in neighbours(i) if y[j] >= 0 and y[i] >= 0]
        if known:
            part = sum(y[j] == y[i] for j in known) / len(known)
            k = next(k for k in range(5) if part < (k + 1) / 5 or k == 4)
            expected.setdefault(f"{20 * k}–{20 * k + 20}", []).append(i)
    wanted = {f"{name}\n({len(nodes)})": share(nodes) for name, nodes in expected.items()}
    found = bins_of(by_homophily)
    assert found.keys() == wanted.keys()
    for label in found:
        assert_close(torch.tensor(found[label]), torch.tensor(wanted[label]))
    dashed = by_degree.lines[-1].get_ydata()[0]
    assert_close(float(dashed), share(chosen)[0])


def test_agreement_takes_every_graph_and_none_at_all() -> None:
    first = bins_of(D.plot_agreement(Z_S, Z_T, EDGES, axes=Figure().subplots(1, 2))[1])
    adj_t = torch.sparse_coo_tensor(EDGES.flip(0), torch.ones(EDGES.size(1)), (N, N))
    for graph in (graphkd.Graph(EDGES, N), EDGES.int(), adj_t):
        again = D.plot_agreement(Z_S, Z_T, graph, axes=Figure().subplots(1, 2))[1]
        assert bins_of(again) == first
    by_degree, by_homophily = D.plot_agreement(Z_S, Z_T, EDGES[:, :0], axes=Figure().subplots(1, 2))
    assert [*bins_of(by_degree)] == [f"0\n({N})"]
    assert not bins_of(by_homophily)
    nobody = D.plot_agreement(Z_S[:0], Z_T[:0], EDGES[:, :0], axes=Figure().subplots(1, 2))
    assert not bins_of(nobody[0])
