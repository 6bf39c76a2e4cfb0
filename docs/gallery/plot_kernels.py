"""
The kernels of LSP and Global LSP
=================================

Two rows are compared by a kernel. What does each see of an angle, and of a length?
"""

import math

import torch
from matplotlib import pyplot as plt

# %%
# A row of length one, and another that turns around it, at three lengths.

angle = torch.linspace(0, math.pi, 91)
x = torch.tensor([1.0, 0.0]).expand(91, 2)
kernels = {
    "cosine": lambda x, y: (x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1)),
    "poly": lambda x, y: ((x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1))) ** 2,
    "linear": lambda x, y: (x * y).sum(-1),
    "l2": lambda x, y: (x - y).norm(dim=-1),
    "rbf, γ = 0.5": lambda x, y: (-0.5 * (x - y).square().sum(-1)).exp(),
}
figure, panels = plt.subplots(1, 5, figsize=(11, 2.6), layout="constrained")
for ax, (name, kernel) in zip(panels, kernels.items(), strict=True):
    for length in (0.5, 1.0, 2.0):
        y = length * torch.stack([angle.cos(), angle.sin()], dim=1)
        ax.plot(angle.rad2deg(), kernel(x, y), label=f"length {length:g}")
    ax.set(title=name, xlabel="angle", xticks=[0, 90, 180])
panels[0].legend(frameon=False, fontsize=8)

# %%
# - **cosine** and **poly** see angles only, and poly takes opposite directions for the same.
# - **linear** and **l2** see lengths, too, so both models must have the same scale.
# - **rbf** is a hill: rows that are far apart are alike to it, all at 0. On wide embeddings all
#   rows are far apart, and the kernel is blind; ``gamma="median"`` widens the hill to the
#   distances that there are.

h = torch.randn(500, 128, generator=torch.Generator().manual_seed(0))
square = torch.pdist(h).square()
median = square.sqrt().median()
print(f"128 wide: γ = 0.5 gives {(-0.5 * square).exp().mean():.0e} on average,", end=" ")
print(f"the median rule {(-square / (2 * median**2)).exp().mean():.2f}")
