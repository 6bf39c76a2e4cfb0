"""
What each family of losses does
===============================

A student's rows are points in the plane that may move freely, and the teacher's are three groups
of points. Each student follows the gradient of one loss, and nothing else, until the loss is
content. What is left when it stops is what the loss does not care about.
"""

import torch
from matplotlib import pyplot as plt

import graphkd.functional as G

torch.manual_seed(0)
N = 60
group = torch.arange(N) % 3
centres = 2 * torch.tensor([[1.0, 0.2], [-0.7, 0.9], [0.1, -1.2]])
teacher = centres[group] + 0.35 * torch.randn(N, 2)
start = torch.randn(N, 2)

# %%
# Local losses need a graph. Here each point is joined to the four nearest of the teacher's.

distance = torch.cdist(teacher, teacher).fill_diagonal_(float("inf"))
nearest = distance.topk(4, largest=False).indices
edges = torch.stack([nearest.flatten(), torch.arange(N).repeat_interleave(4)])

losses = {
    "FitNet: each row\nby itself": lambda h: G.fitnet_loss(h, teacher),
    "G-CRD, τ = 0.5: each row\namong all": lambda h: G.gcrd_loss(h, teacher, temperature=0.5),
    "Global LSP, cosine:\nangles of all pairs": lambda h: G.global_lsp_loss(h, teacher),
    "RKD: distances of pairs,\nangles of triples": lambda h: G.rkd_loss(h, teacher),
    "LSP, cosine: angles\nalong edges": lambda h: G.lsp_loss(h, teacher, edges),
    "CKA: the space, up to\nrotation and scale": lambda h: G.cka_loss(h, teacher),
}


def flow(loss, shown=(0, 20, 100, 400)):
    """The points at these steps on their way."""
    h = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([h], lr=0.03)
    for step in range(max(shown) + 1):
        if step in shown:
            yield step, h.detach().clone()
        optimizer.zero_grad()
        loss(h).backward()
        optimizer.step()


# %%
# A film strip for each loss: the start, which is the same for all, and three later moments.
# Colours are the groups. The teacher stands on the right.

figure, panels = plt.subplots(len(losses), 5, figsize=(9, 1.75 * len(losses)), layout="constrained")
colours = plt.get_cmap("viridis")(group / 2.0)
for i, (row, (name, loss)) in enumerate(zip(panels, losses.items(), strict=True)):
    frames = [*flow(loss), ("teacher", teacher)]
    for ax, (step, points) in zip(row, frames, strict=True):
        ax.scatter(*points.T, c=colours, s=9)
        ax.plot(0, 0, "+", color="0.6", zorder=0)
        ax.set(xticks=[], yticks=[], aspect="equal")
        ax.set_adjustable("datalim")
        if i == 0:
            ax.set_title(step if step == "teacher" else f"step {step}", fontsize=9)
    row[0].set_ylabel(name, fontsize=8)

# %%
# - **FitNet** and **Global LSP** normalise rows: directions arrive, lengths stay what they were.
#   FitNet wants the teacher's own directions, Global LSP only the angles between them, so that
#   its picture may be turned or mirrored.
# - **G-CRD** wants each row to be nearer in angle to its own teacher row than to the others. It
#   spreads a group out that the teacher keeps together, the more the lower its temperature.
# - **RKD** gives the teacher's shape back, turned: distances of all pairs fix it.
# - **LSP** looks along edges. Neighbours get the teacher's angles to one another, and where a
#   group goes is free.
# - **CKA** cares for the space as a whole, and lets a single row be.
