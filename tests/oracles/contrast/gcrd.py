"""G-CRD by a loop over anchors and keys."""

import torch
from torch import Tensor

from tests.oracles._shared import unit


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
