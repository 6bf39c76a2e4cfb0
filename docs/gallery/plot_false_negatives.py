"""
False negatives: whom does G-CRD push away?
===========================================

In a contrastive loss every other node is a negative, also those that should stay near: the nodes of
the same class. On scikit-learn's digits, with a graph attention network as the teacher: how much of
the push goes to them?
"""

import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.neighbors import kneighbors_graph
from torch_geometric.nn import GAT
from torch_geometric.utils import from_scipy_sparse_matrix, to_undirected

import graphkd
import graphkd.functional as G

torch.manual_seed(0)
images, digits = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16, dtype=torch.float), torch.tensor(digits)
edges = to_undirected(from_scipy_sparse_matrix(kneighbors_graph(images, 8))[0])
train = torch.randperm(x.size(0))[:50]

teacher = GAT(64, 32, num_layers=2, out_channels=10, heads=4, dropout=0.5)
optimizer = torch.optim.Adam(teacher.parameters(), lr=0.01)
for _ in range(60):
    optimizer.zero_grad()
    F.cross_entropy(teacher(x, edges)[train], y[train]).backward()
    optimizer.step()
graphkd.freeze(teacher)
with graphkd.Tap(teacher, "dropout") as tap:
    z_t = teacher(x, edges)
rows = tap.value
print(f"teacher: {(z_t.argmax(1) == y).float().mean():.1%}")

# %%
# A student that has reached its teacher (the same rows) still feels a push from each other node j,
# in proportion to the softmax of the similarities. Of all that push, this is the share that comes
# from nodes of the same digit. One in ten nodes is of the same digit.

temperatures = [0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0]
unit = F.normalize(rows)
cosine = (unit @ unit.T).fill_diagonal_(-torch.inf)  # the node itself is the positive
same = y[:, None] == y
shares = [((cosine / t).softmax(dim=1) * same).sum(dim=1).mean().item() for t in temperatures]

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.plot(temperatures, [100 * share for share in shares], "o-")
ax.axhline(10, color="0.6", linestyle=":")
ax.text(0.2, 4, "one in ten", fontsize=8, color="0.4")
ax.axvspan(0.05, 0.1, color="0.92", zorder=0)
ax.text(0.0505, 4, "the paper's", fontsize=8, color="0.4")
ax.set(xscale="log", xlabel="temperature τ", ylabel="push from the same digit, %", ylim=(0, 100))
ax.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
ax.minorticks_off()

# %%
# At the paper's temperatures most of it: the student is told to tell apart what the task does not.
# A higher temperature spreads the push over all nodes. Other ways say who else is a positive:
# neighbours (``positives=``), the classes that the teacher sees (``labels=``), or soft targets, in
# which the teacher's own similarities say how near each node should be (``teacher_temperature=``).
#
# What each of them does to the student that stands where its teacher stands: the mean change of the
# cosine within a digit, and between digits, in a small step.

changes = {}
for name, options in {
    "own row, τ = 0.075": {"temperature": 0.075},
    "own row, τ = 0.5": {"temperature": 0.5},
    "neighbours, τ = 0.5": {"temperature": 0.5, "positives": edges},
    "teacher's classes, τ = 0.5": {"temperature": 0.5, "labels": z_t.argmax(1)},
    "soft targets 0.05, τ = 0.5": {"temperature": 0.5, "teacher_temperature": 0.05},
}.items():
    h = rows.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(G.gcrd_loss(h, rows, **options), h)
    moved = F.normalize(rows - 0.05 * rows.norm() * gradient / gradient.norm())
    change = moved @ moved.T - unit @ unit.T
    changes[name] = change[same].mean().item(), change[~same].mean().item()

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for k, label in enumerate(("within a digit", "between digits")):
    places = [i + 0.36 * (k - 0.5) for i in range(len(changes))]
    ax.barh(places, [pair[k] for pair in changes.values()], height=0.34, label=label)
ax.axvline(0, color="0.6", linewidth=1)
ax.set_yticks(range(len(changes)), [*changes])
ax.invert_yaxis()
ax.set_xlabel("change of the cosine in a step")
ax.legend(frameon=False)

# %%
# All steps are of one length. With the own row as the only positive and τ = 0.075, the nodes of a
# digit part three quarters as fast as the digits do; at τ = 0.5, less than a third. With the
# teacher's classes as positives they all but stay, and the digits part.
# :doc:`The study </study_gcrd>` has what these choices give a student, on several data sets.
