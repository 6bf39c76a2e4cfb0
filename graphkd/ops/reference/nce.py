"""CRD's row values in their obvious form: the logits of all rows and all entries of a bank."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Above this number, log(1 + exp(x)) is x to the last digit.
LINEAR = 40.0


def nce(
    p: Tensor,
    positives: Tensor,
    keys: Tensor,
    own: Tensor,
    shift: Tensor,
    temperature: float,
) -> Tensor:
    """log(1 + exp(−x_i)) + Σ_k log(1 + exp(x_ik)), k ≠ own_i, for x = ⟨p, key⟩/temperature − shift.

    x_i belongs to the anchor's positive, x_ik to a key.
    """
    shift = shift.to(p.dtype)
    attracted = (p * positives).sum(dim=1) / temperature - shift
    repelled = p @ keys.T / temperature - shift
    mine = own[:, None] == torch.arange(keys.size(0), device=own.device)
    negatives = F.softplus(repelled.masked_fill(mine, -torch.inf), threshold=LINEAR)
    return F.softplus(-attracted, threshold=LINEAR) + negatives.sum(dim=1)
