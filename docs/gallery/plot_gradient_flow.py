"""
What each family of losses does
===============================

A student's rows are points in the plane that may move freely, and the teacher's are three groups
of points. Each student follows the gradient of one loss, and nothing else, until the loss is
content. What is left when it stops is what the loss does not care about.

Each strip shows the start, which is the same for all, and three later moments; the teacher stands
on the right. Colours are the groups, the cross is the origin.
"""

import torch
from matplotlib import pyplot as plt

import graphkd
import graphkd.functional as G

torch.manual_seed(0)
N = 60
group = torch.arange(N) % 3
centres = 2 * torch.tensor([[1.0, 0.2], [-0.7, 0.9], [0.1, -1.2]])
teacher = centres[group] + 0.35 * torch.randn(N, 2)
start = torch.randn(N, 2)


def flow(loss, shown, start=start):
    """The points at these steps on their way."""
    h = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([h], lr=0.03)
    for step in range(max(shown) + 1):
        if step in shown:
            yield f"step {step}", h.detach().clone()
        optimizer.zero_grad()
        loss(h).backward()
        optimizer.step()


# One figure for each loss, from the start to the teacher. Pages of the losses show them, too.
def strip(name, loss):
    _, panels = plt.subplots(1, 5, figsize=(9, 1.95), layout="constrained")
    frames = [*flow(loss, (0, 20, 100, 300)), ("teacher", teacher)]
    for ax, (title, points) in zip(panels, frames, strict=True):
        ax.scatter(*points.T, c=group, s=9)
        ax.plot(0, 0, "+", color="0.6", zorder=0)
        ax.set(xticks=[], yticks=[], aspect="equal")
        ax.set_adjustable("datalim")
        ax.set_title(title, fontsize=9)
    panels[0].set_ylabel(name, fontsize=9)


# %%
# Each row by itself
# ------------------
#
# :func:`FitNet <graphkd.functional.fitnet_loss>` wants each row's direction to be the teacher's.
# Directions arrive, lengths stay what they were.

strip("FitNet", lambda h: G.fitnet_loss(h, teacher))

# %%
# :func:`Attention transfer <graphkd.functional.attention_transfer_loss>` looks at each row's length
# alone. The groups stay mixed: it says nothing of directions.

strip("attention transfer", lambda h: G.attention_transfer_loss(h, teacher))

# %%
# Each row among all
# ------------------
#
# :func:`G-CRD <graphkd.functional.gcrd_loss>` wants each row to be nearer in angle to its own
# teacher row than to the others. It spreads a group out that the teacher keeps together, the more
# the lower its temperature. At a temperature of 0.5:

strip("G-CRD, τ = 0.5", lambda h: G.gcrd_loss(h, teacher, temperature=0.5))

# %%
# At the paper's temperature of 0.075, the groups are spread out further:

strip("G-CRD, τ = 0.075", lambda h: G.gcrd_loss(h, teacher, temperature=0.075))

# %%
# :class:`CRD <graphkd.CRDLoss>` asks the same of each row by itself, as yes-or-no questions about
# a memory of all rows.

memory = graphkd.CRDLoss(2, 2, N, head="identity", temperature=0.5, num_negatives=N)
strip("CRD, τ = 0.5", lambda h: memory(h, teacher))

# %%
# All pairs
# ---------
#
# :func:`Global LSP <graphkd.functional.global_lsp_loss>` wants the teacher's angles between all
# pairs, so that the picture may be turned or mirrored.

strip("Global LSP", lambda h: G.global_lsp_loss(h, teacher))

# %%
# :func:`SP <graphkd.functional.similarity_preserving_loss>` makes a unit vector of each row's
# products with all. Lengths count among one another, and the picture may be turned.

strip("SP", lambda h: G.similarity_preserving_loss(h, teacher))

# %%
# :func:`PKT <graphkd.functional.pkt_loss>` makes a distribution of each row's similarities. Its
# logarithm is steep for rows that are opposite, so that no row turns past the opposite of another:
# in the plane it is stuck. In three dimensions and more, rows find a way round:

strip("PKT", lambda h: G.pkt_loss(h, teacher))

for width in (2, 3):
    ends = flow(lambda h: G.pkt_loss(h, teacher), (0, 300), torch.randn(N, width))
    before, after = (G.pkt_loss(h, teacher).item() for _, h in ends)
    print(f"{width} dimensions: from {before:.2f} to {after:.4f}")

# %%
# :func:`RKD <graphkd.functional.rkd_loss>` gives the teacher's shape back, turned: distances of all
# pairs fix it.

strip("RKD", lambda h: G.rkd_loss(h, teacher))

# %%
# :func:`CKA <graphkd.functional.cka_loss>` cares for the space as a whole, up to rotation and
# scale, and lets a single row be.

strip("CKA", lambda h: G.cka_loss(h, teacher))

# %%
# Along the edges
# ---------------
#
# :func:`LSP <graphkd.functional.lsp_loss>` needs a graph. Here each point is joined to the four
# nearest of the teacher's. Neighbours get the teacher's angles to one another, and where a group
# goes is free.

distance = torch.cdist(teacher, teacher).fill_diagonal_(float("inf"))
nearest = distance.topk(4, largest=False).indices
edges = torch.stack([nearest.flatten(), torch.arange(N).repeat_interleave(4)])

strip("LSP", lambda h: G.lsp_loss(h, teacher, edges))
