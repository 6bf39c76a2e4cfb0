"""
Why the temperature of G-CRD matters
====================================

G-CRD asks each node to find its own teacher row among all. Nodes of a graph have near-duplicates:
the rows of neighbours of one class are almost the same. A low temperature tells the student to
push them apart all the same.
"""

import torch
from matplotlib import pyplot as plt

import graphkd.functional as G

torch.manual_seed(0)
group = torch.arange(200) % 4
teacher = torch.randn(4, 16)[group] + 0.3 * torch.randn(200, 16)
student = (teacher + 0.3 * torch.randn(200, 16)).requires_grad_()

# %%
# A student near its teacher. What does a step of gradient descent do to the angle between two
# nodes of one group, and between nodes of two?

temperatures = [0.05, 0.075, 0.1, 0.2, 0.5, 1.0]
same = (group[:, None] == group) & ~torch.eye(200, dtype=torch.bool)
other = group[:, None] != group


def cosines(h):
    h = torch.nn.functional.normalize(h)
    return h @ h.T


within, between = [], []
for temperature in temperatures:
    loss = G.gcrd_loss(student, teacher, temperature=temperature)
    (gradient,) = torch.autograd.grad(loss, student)
    step = 0.5 * gradient / gradient.norm() * student.norm() / 10
    change = (cosines(student - step) - cosines(student)).detach()
    within.append(change[same].mean().item())
    between.append(change[other].mean().item())

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.axhline(0, color="0.6", linewidth=1)
ax.plot(temperatures, within, "o-", label="nodes of one group")
ax.plot(temperatures, between, "s-", label="nodes of different groups")
ax.set(xscale="log", xlabel="temperature τ", ylabel="change of their cosine in a step")
ax.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
ax.minorticks_off()
ax.legend(frameon=False)

# %%
# At low temperatures, what a step changes is the angle between nodes of one group, which grows:
# the student learns to tell apart what a classifier wants together. At 0.5 and above it is the
# groups that are driven apart. ``labels=``, ``positives=`` and ``teacher_temperature=`` of
# :class:`graphkd.GCRDLoss` say which rows should not repel each other, and keep a low temperature
# harmless:

for name, options in {
    "τ = 0.075": {"temperature": 0.075},
    "τ = 0.075, labels": {"temperature": 0.075, "labels": group},
    "τ = 0.075, soft targets": {"temperature": 0.075, "teacher_temperature": 0.1},
}.items():
    loss = G.gcrd_loss(student, teacher, **options)
    (gradient,) = torch.autograd.grad(loss, student)
    step = 0.5 * gradient / gradient.norm() * student.norm() / 10
    change = (cosines(student - step) - cosines(student)).detach()
    print(
        f"{name:24} within a group {change[same].mean():+.4f}, between {change[other].mean():+.4f}"
    )
