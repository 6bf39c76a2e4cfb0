"""KD by loops over rows."""

import torch
from torch import Tensor


def _standard(z: Tensor, standardize: bool | str) -> Tensor:
    if not standardize:
        return z
    if bool((z == z[0]).all()):
        return 0 * z
    gaps = z - z.sum() / len(z)
    count = len(z) - 1 if standardize is True else len(z)
    return gaps / ((gaps * gaps).sum() / count).sqrt()


def _kl(q: Tensor, p: Tensor) -> Tensor:
    return (q * (q / p).log()).sum()


def _divergence(p: Tensor, q: Tensor, name: str) -> Tensor:
    if name == "js":
        middle = (p + q) / 2
        return (_kl(q, middle) + _kl(p, middle)) / 2
    return _kl(q, p) if name == "kl" else _kl(p, q)


def kd(
    z_s: Tensor,
    z_t: Tensor,
    *,
    temperature: float | None = None,
    task: str = "multiclass",
    standardize: bool | str = False,
    divergence: str = "kl",
):
    rows = []
    t = 4.0 if temperature is None else temperature
    for s, q in zip(z_s, z_t, strict=True):
        s, q = _standard(s, standardize), _standard(q, standardize)
        if task == "regression":
            rows.append(((s - q) ** 2).mean())
        elif task == "multiclass":
            a, b = torch.softmax(s / t, 0), torch.softmax(q / t, 0)
            rows.append(t * t * _divergence(a, b, divergence))
        else:
            a, b = torch.sigmoid(s / t), torch.sigmoid(q / t)
            entries = b * (b / a).log() + (1 - b) * ((1 - b) / (1 - a)).log()
            rows.append(t * t * entries.mean())
    return torch.stack(rows)
