"""
Collapse: a loss of zero that teaches nothing
=============================================

A loss that only brings pairs together can be made zero by giving all nodes the same row. A head
that learns on the teacher's side makes that possible: then nothing holds the target in place.
"""

import torch
from matplotlib import pyplot as plt
from torch import nn

from graphkd import FitNetLoss, GCRDLoss

torch.manual_seed(0)
group = torch.arange(400) % 4
teacher = torch.randn(4, 16)[group] + 0.5 * torch.randn(400, 16)
features = 0.3 * teacher @ torch.randn(16, 8) + torch.randn(400, 8)

# %%
# A student learns from the teacher's rows alone. ``FitNetLoss`` and G-CRD are as they come, but for
# G-CRD's heads, which are linear here. Beside them stands FitNet with a head on both sides, as its
# released code has it.

makers = {
    "FitNet": lambda: FitNetLoss(8, 16),
    "FitNet, teacher's head learns": lambda: FitNetLoss(
        8, 16, head=(nn.Linear(8, 16), nn.Linear(16, 16))
    ),
    "G-CRD": lambda: GCRDLoss(8, 16, 16, temperature=0.5, head="linear"),
}


def alike(h):
    """The mean cosine of two nodes: at 1, all rows point the same way."""
    h = nn.functional.normalize(h.detach())
    return ((h @ h.T).sum().item() - len(h)) / (len(h) * (len(h) - 1))


def told_apart(h):
    """How many of the second 200 nodes are nearest to their own group's mean of the first."""
    h, half = h.detach(), torch.arange(400) < 200
    means = torch.stack([h[half & (group == g)].mean(0) for g in range(4)])
    return (torch.cdist(h[~half], means).argmin(1) == group[~half]).float().mean().item()


steps = [0, 10, 30, 100, 300]
found = {}
for name, make in makers.items():
    torch.manual_seed(1)
    student = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))
    distill = make()
    optimizer = torch.optim.Adam([*student.parameters(), *distill.parameters()], lr=0.01)
    found[name] = []
    for step in range(steps[-1] + 1):
        h = student(features)
        loss = distill(h, teacher)
        if step in steps:
            found[name].append((loss.item(), alike(h), told_apart(h)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

figure, panels = plt.subplots(1, 3, figsize=(8.5, 2.8), layout="constrained")
titles = ["loss, of the first step's", "cosine of two nodes", "nodes by the right group"]
for k, (ax, title) in enumerate(zip(panels, titles, strict=True)):
    for name, values in found.items():
        scale = values[0][0] if k == 0 else 1
        ax.plot(steps, [value[k] / scale for value in values], ".-", label=name)
    ax.set_xscale("symlog", linthresh=10)
    ax.set_xticks(steps, [str(s) for s in steps])
    ax.minorticks_off()
    ax.set(title=title, xlabel="step", ylim=(0, 1.05))
figure.legend(
    *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
)

# %%
# Of the two FitNets, the one with the lower loss is the worse student:

for name, values in found.items():
    loss, cosine, right = values[-1]
    print(f"{name}: loss {loss:.4f}, cosine of two nodes {cosine:.2f}, right group {right:.2f}")

# %%
# Both heads agree that all nodes look alike, and so does the student. With the teacher's rows
# fixed, that answer is wrong, and the loss says so; in G-CRD the other nodes do, for each row has
# to find its own among all. Therefore ``FitNetLoss`` has no head for the teacher unless it is given
# a pair of modules. :class:`graphkd.diagnostics.Doctor` says so in a run: ``collapsed-head``.
