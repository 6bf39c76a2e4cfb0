"""G-CRD by a loop over anchors and keys."""

import math

import torch
from torch import Tensor

from tests.oracles._shared import unit
from tests.rows.row import draw


def gcrd(
    h_s: Tensor,
    h_t: Tensor,
    *,
    temperature: float = 0.075,
    teacher_temperature: float | None = None,
    symmetric: bool = False,
    extra_keys: Tensor | None = None,
    targets: Tensor | None = None,
    extra_targets: Tensor | None = None,
    num_negatives: int | None = None,
    drawn: list[int] | None = None,
):
    s, t = [unit(x) for x in h_s], [unit(x) for x in h_t]
    more = [unit(x) for x in extra_keys] if extra_keys is not None else []

    n = len(s)
    if num_negatives is not None and num_negatives < n:
        drawn = draw(n, num_negatives).tolist()

    if teacher_temperature is not None:
        rows_t = t if targets is None else [unit(x) for x in targets]
        more_t = more if extra_targets is None else [unit(x) for x in extra_targets]

        def soft(anchors: list[Tensor], keys: list[Tensor], others: list[Tensor]) -> Tensor:
            rows = []
            for i, anchor in enumerate(anchors):
                wanted = torch.stack([rows_t[i].dot(x) for x in rows_t + others])
                found = torch.stack([anchor.dot(key) for key in keys])
                log_a = torch.log_softmax(wanted / teacher_temperature, 0)
                log_b = torch.log_softmax(found / temperature, 0)
                rows.append((log_a.exp() * (log_a - log_b)).sum())
            return torch.stack(rows)

        there = soft(s, t + more, more_t)
        return (there + soft(t, s, [])) / 2 if symmetric else there

    def one_way(anchors: list[Tensor], keys: list[Tensor], more: list[Tensor]) -> Tensor:
        rows = []
        for i, anchor in enumerate(anchors):
            others = [keys[j] for j in (range(n) if drawn is None else drawn) if j != i]
            factor = (n - 1) / max(len(others), 1)
            weighed = [(keys[i], 1.0), *((key, factor) for key in others)]
            weighed += [(key, 1.0) for key in more]
            logits = [anchor.dot(key) / temperature + math.log(f) for key, f in weighed]
            rows.append(-torch.log_softmax(torch.stack(logits), 0)[0])
        return torch.stack(rows)

    rows = one_way(s, t, more)
    return (rows + one_way(t, s, [])) / 2 if symmetric else rows
