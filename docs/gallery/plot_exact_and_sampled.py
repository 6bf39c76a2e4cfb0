"""
Exact against sampled
=====================

Released code compares some drawn rows, since all pairs of a large graph do not fit into memory.
graphkd compares all pairs, block by block. How far from the exact gradient is a drawn one?
"""

import torch
from matplotlib import pyplot as plt

import graphkd.functional as G

torch.manual_seed(0)
N = 2048
teacher = torch.randn(N, 32) @ torch.randn(32, 32)
student = (teacher + 2 * torch.randn(N, 32)).requires_grad_()


def gradient(**options):
    loss = G.gcrd_loss(student, teacher, temperature=0.2, **options)
    return torch.autograd.grad(loss, student)[0]


exact = gradient()


def error(g):
    return ((g - exact).norm() / exact.norm()).item()


# %%
# Two ways to draw: ``max_samples=K`` takes K rows and compares these with one another, as the
# released code does; ``num_negatives=K`` keeps all rows and draws K keys for them.

counts = [32, 64, 128, 256, 512, 1024]
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, label in (
    ("max_samples", "K rows, among themselves"),
    ("num_negatives", "all rows, K keys"),
):
    draws = [[error(gradient(**{name: k})) for _ in range(5)] for k in counts]
    ax.plot(counts, [sum(one) / 5 for one in draws], "o-", label=f"{name}: {label}")
ax.set(xscale="log", yscale="log", xlabel="K", ylabel="relative error of the gradient")
ax.set_xticks(counts, map(str, counts))
ax.minorticks_off()
ax.legend(frameon=False)

# %%
# Rows that are not drawn get no gradient in this step, and the others more, so that half of the
# rows still leave an error near 1. Drawn keys are the better choice where all pairs take too
# long. The exact loss has no error, and no matrix of N × N numbers either.
