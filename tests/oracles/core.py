"""The seed's six losses the obvious way: loops over nodes and pairs, nothing shared.

They are differentiable, so that the tests compare gradients as well as values. A zero row's unit
vector is zero.
"""

import torch
from torch import Tensor


def unit(x: Tensor) -> Tensor:
    return x / x.norm() if bool((x != 0).any()) else torch.zeros_like(x)


def similarity(x: Tensor, y: Tensor, kernel: str, gamma: float = 0.5) -> Tensor:
    if kernel == "linear":
        return x.dot(y)
    if kernel == "cosine":
        return unit(x).dot(unit(y))
    if kernel == "poly":
        return unit(x).dot(unit(y)) ** 2
    if kernel == "l2":
        return (x - y).norm()
    return torch.exp(-gamma * (x - y).dot(x - y))


def gcrd(
    h_s: Tensor,
    h_t: Tensor,
    *,
    temperature: float = 0.075,
    symmetric: bool = False,
    extra_keys: Tensor | None = None,
):
    s, t = [unit(x) for x in h_s], [unit(x) for x in h_t]
    more = [unit(x) for x in extra_keys] if extra_keys is not None else []

    def one_way(anchors: list[Tensor], keys: list[Tensor]) -> Tensor:
        rows = []
        for i, anchor in enumerate(anchors):
            logits = torch.stack([anchor.dot(key) / temperature for key in keys])
            rows.append(-torch.log_softmax(logits, 0)[i])
        return torch.stack(rows)

    rows = one_way(s, t + more)
    return (rows + one_way(t, s)) / 2 if symmetric else rows


def _median(distances: list[Tensor]) -> float:
    ordered = sorted(float(d) for d in distances)
    middle = ordered[(len(ordered) - 1) // 2] if ordered else 0.0
    return 1 / (2 * middle**2) if middle > 0 else 0.5


def lsp(
    h_s: Tensor,
    h_t: Tensor,
    edge_index: Tensor,
    *,
    kernel: str = "cosine",
    gamma: float | str = 0.5,
    divergence: str = "kl",
):
    edges = [(int(j), int(i)) for j, i in edge_index.t()]
    bands = [
        _median([(h[j] - h[i]).norm() for j, i in edges if i != j]) if gamma == "median" else gamma
        for h in (h_s, h_t)
    ]
    rows = []
    for centre in range(h_s.size(0)):
        neighbours = [j for j, i in edges if i == centre]
        if not neighbours:
            rows.append(h_s.new_zeros(()))
            continue
        p, q = (
            torch.softmax(
                torch.stack([similarity(h[j], h[centre], kernel, g) for j in neighbours]), 0
            )
            for h, g in zip((h_s, h_t), bands, strict=True)
        )
        rows.append((q * (q / p).log()).sum() if divergence == "kl" else ((p - q) ** 2).sum())
    return torch.stack(rows)


def global_lsp(h_s: Tensor, h_t: Tensor, *, kernel: str = "cosine", gamma: float | str = 0.5):
    n = h_s.size(0)
    bands = [
        _median([(h[i] - h[j]).norm() for i in range(n) for j in range(i + 1, n)])
        if gamma == "median"
        else gamma
        for h in (h_s, h_t)
    ]
    rows = []
    for i in range(n):
        gaps = [
            similarity(h_s[i], h_s[j], kernel, bands[0])
            - similarity(h_t[i], h_t[j], kernel, bands[1])
            for j in range(n)
        ]
        rows.append(sum(gap**2 for gap in gaps) / n)
    return torch.stack(rows)


def _standard(z: Tensor, standardize: bool | str) -> Tensor:
    if not standardize:
        return z
    if bool((z == z[0]).all()):
        return 0 * z
    gaps = z - z.sum() / len(z)
    count = len(z) - 1 if standardize is True else len(z)
    return gaps / ((gaps * gaps).sum() / count).sqrt()


def kd(
    z_s: Tensor,
    z_t: Tensor,
    *,
    temperature: float | None = None,
    task: str = "multiclass",
    standardize: bool | str = False,
):
    rows = []
    t = 4.0 if temperature is None else temperature
    for s, q in zip(z_s, z_t, strict=True):
        s, q = _standard(s, standardize), _standard(q, standardize)
        if task == "regression":
            rows.append(((s - q) ** 2).mean())
        elif task == "multiclass":
            a, b = torch.softmax(s / t, 0), torch.softmax(q / t, 0)
            rows.append(t * t * (b * (b / a).log()).sum())
        else:
            a, b = torch.sigmoid(s / t), torch.sigmoid(q / t)
            entries = b * (b / a).log() + (1 - b) * ((1 - b) / (1 - a)).log()
            rows.append(t * t * entries.mean())
    return torch.stack(rows)


def fitnet(h_s: Tensor, h_t: Tensor):
    return torch.stack([((unit(s) - unit(t)) ** 2).mean() for s, t in zip(h_s, h_t, strict=True)])


def attention_transfer(h_s: Tensor, h_t: Tensor):
    s, t = (unit(torch.stack([(x * x).sum() for x in h])) for h in (h_s, h_t))
    return (s - t) ** 2
