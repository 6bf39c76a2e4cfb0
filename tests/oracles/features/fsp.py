"""FSP by loops over graphs, nodes and pairs of columns."""

from torch import Tensor


def fsp(
    h_s: tuple[Tensor, Tensor], h_t: tuple[Tensor, Tensor], batch: Tensor | None = None
) -> Tensor:
    n = h_s[0].size(0)
    ids = [0] * n if batch is None else batch.tolist()
    values = []
    for graph in set(ids):
        nodes = [i for i in range(n) if ids[i] == graph]
        total = 0.0
        for k in range(h_s[0].size(1)):
            for m in range(h_s[1].size(1)):
                flows = [sum(a[i, k] * b[i, m] for i in nodes) / len(nodes) for a, b in (h_s, h_t)]
                total = total + (flows[0] - flows[1]) ** 2
        values.append(total / (h_s[0].size(1) * h_s[1].size(1)))
    return sum(values) / len(values)
