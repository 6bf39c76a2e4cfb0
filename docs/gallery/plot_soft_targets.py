"""
What KD shows of a teacher
==========================

A label names one class. A teacher's prediction also says which others were plausible, and a
temperature decides how loudly.
"""

import torch
from matplotlib import pyplot as plt

import graphkd.functional as G

z_t = torch.tensor([[9.0, 6.5, 5.0, 2.0, 1.5, 1.0, 0.0, -1.0]])

# Pages of the losses show these figures by their numbers.
figure, panels = plt.subplots(1, 4, figsize=(9, 2.1), sharey=True, layout="constrained")
for ax, temperature in zip(panels, (0.5, 1.0, 2.0, 4.0), strict=True):
    ax.bar(range(8), (z_t / temperature).softmax(dim=1)[0])
    ax.set(title=f"T = {temperature:g}", xticks=[], xlabel="class", ylim=(0, 1))
panels[0].set_ylabel("probability")

# %%
# At T = 0.5 the teacher says little more than a label, at T = 4 it ranks all classes. Which of them
# helps is a matter for validation data: in :doc:`the study </study>`, 0.5 to 2 was chosen for most
# students.
#
# Which divergence
# ----------------
#
# A student that is too small cannot match all. This teacher finds two ranges of 60 classes
# plausible; the student's logits are a parabola, so that it has one range to give.

at = torch.linspace(-3, 3, 60)
z_t = torch.logsumexp(
    torch.stack([-(((at + 1.4) / 0.4) ** 2), -(((at - 1.2) / 0.5) ** 2) - 0.5]), dim=0
)[None]

figure, panels = plt.subplots(1, 3, figsize=(9, 2.3), sharey=True, layout="constrained")
for ax, divergence in zip(panels, ("kl", "reverse_kl", "js"), strict=True):
    where, width = torch.tensor(-0.6, requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = torch.optim.Adam([where, width], lr=0.05)
    for _ in range(300):
        z_s = -(((at - where) / width.exp()) ** 2)[None]
        loss = G.kd_loss(z_s, z_t, temperature=1.0, divergence=divergence)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ax.fill_between(at, z_t.softmax(dim=1)[0], color="0.8", label="teacher")
    ax.plot(at, z_s.detach().softmax(dim=1)[0], label="student")
    ax.set(title=f'divergence="{divergence}"', xticks=[], xlabel="class")
panels[0].set_ylabel("probability")
panels[2].legend(frameon=False)

# %%
# ``"kl"`` covers all that the teacher finds plausible, also what lies between. ``"reverse_kl"``
# settles on one of the two ranges, and leaves the classes between alone. ``"js"`` is between the
# two, and here does as ``"kl"``.
