"""TINED, VQGraph, LLP and MuGSI by loops over edges, codes, contexts and paths; nothing shared."""

import torch
from torch import Tensor


def energy(x: Tensor, edge_index: Tensor, normalized: bool = False) -> Tensor:
    """The trace, with a dense Laplacian of the edges taken both ways at half their weight."""
    n = x.size(0)
    adjacency = torch.zeros(n, n, dtype=x.dtype)
    for j, i in edge_index.t().tolist():
        adjacency[i, j] += 0.5
        adjacency[j, i] += 0.5
    degree = adjacency.sum(1)
    if normalized:
        root = torch.stack([d**-0.5 if d > 0 else d for d in degree])
        adjacency = root[:, None] * adjacency * root
        laplacian = torch.diag((degree > 0).to(x.dtype)) - adjacency
    else:
        laplacian = torch.diag(degree) - adjacency
    return torch.trace(x.T @ laplacian @ x) / n


def tined(
    h_s: tuple[Tensor, ...],
    h_t: tuple[Tensor, ...],
    edge_index: Tensor,
    *,
    measure: str = "ratio",
    normalized: bool = False,
) -> Tensor:
    def ratio(before: Tensor, after: Tensor) -> Tensor:
        value = energy(after, edge_index, normalized) / energy(before, edge_index, normalized)
        return {"ratio": value, "root": value**0.5, "log": value.log()}[measure]

    total = torch.zeros((), dtype=h_s[0].dtype)
    for layer in range(len(h_s) - 1):
        gap = ratio(h_s[layer], h_s[layer + 1]) - ratio(h_t[layer], h_t[layer + 1])
        total = total + gap**2
    return total


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """KL between the softmaxes of two vectors of logits."""
    q, p = torch.softmax(teacher, 0), torch.softmax(student, 0)
    return (q * (q / p).log()).sum()


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Zero where a vector is."""
    norms = x.norm() * y.norm()
    return x.dot(y) / norms if bool(norms > 0) else (x * 0).sum()


def vqgraph(
    h_s: Tensor,
    h_t: Tensor,
    codebook: Tensor,
    *,
    temperature: float = 4.0,
    similarity: str = "l2",
) -> Tensor:
    codebook = codebook.to(h_s.dtype)

    def logits(row: Tensor) -> Tensor:
        if similarity == "cosine":
            return torch.stack([cosine(row, code) for code in codebook]) / temperature
        return torch.stack([-(row - code).norm() for code in codebook]) / temperature

    rows = [
        temperature**2 * divergence(logits(t), logits(s)) for s, t in zip(h_s, h_t, strict=True)
    ]
    return torch.stack(rows)


def llp(
    h_s: Tensor,
    h_t: Tensor,
    context: Tensor,
    *,
    temperature: float = 1.0,
    margin: float = 0.1,
    distribution_weight: float = 1.0,
    rank_weight: float = 1.0,
) -> Tensor:
    rows = []
    for anchor, around in enumerate(context.tolist()):
        s, t = (
            torch.stack([torch.sigmoid(h[anchor].dot(h[node])) for node in around])
            for h in (h_s, h_t)
        )
        value = distribution_weight * temperature**2 * divergence(t / temperature, s / temperature)
        pairs = [(a, b) for b in range(len(around)) for a in range(b)]
        for a, b in pairs:
            order = int(t[a] > t[b] + margin) - int(t[a] < t[b] - margin)
            hinge = margin - order * (s[a] - s[b])
            value = value + rank_weight * torch.relu(hinge) / len(pairs)
        rows.append(value)
    return torch.stack(rows)


def mugsi(
    h_s: Tensor,
    h_t: Tensor,
    batch: Tensor,
    clusters: Tensor,
    paths: Tensor,
    *,
    graph_weight: float = 1.0,
    cluster_weight: float = 1.0,
    path_weight: float = 1.0,
) -> Tensor:
    graphs = sorted(set(batch.tolist()))
    value = torch.zeros((), dtype=h_s.dtype)
    for graph in graphs:
        own = [i for i in range(len(batch)) if int(batch[i]) == graph]
        s, t = (sum(h[i] for i in own) for h in (h_s, h_t))
        gap = s / s.norm() - t / t.norm()
        value = value + graph_weight * (gap * gap).mean() / len(graphs)
        names = sorted({int(clusters[i]) for i in own})
        pools = [
            [sum(h[i] for i in own if int(clusters[i]) == name) for name in names]
            for h in (h_s, h_t)
        ]
        for a in range(len(names)):
            for b in range(len(names)):
                gap = cosine(pools[0][a], pools[0][b]) - cosine(pools[1][a], pools[1][b])
                value = value + cluster_weight * gap**2 / 2 / len(graphs)
    for first, *others in paths.tolist():
        s, t = (torch.stack([h[first].dot(h[i]) for i in others]) for h in (h_s, h_t))
        value = value + path_weight * divergence(t, s) / len(paths)
    return value
