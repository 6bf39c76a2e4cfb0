"""A new user's first steps, run against the installed wheel: train a student for a few steps."""

import sys
from importlib.metadata import requires, version
from pathlib import Path

import torch

import graphkd

assert Path(graphkd.__file__).is_relative_to(Path(sys.argv[1])), graphkd.__file__
assert (Path(graphkd.__file__).parent / "py.typed").exists()
assert version("graphkd") == graphkd.__version__
hard = [name for name in requires("graphkd") or [] if "extra ==" not in name]
assert {name.split(">")[0] for name in hard} == {"torch", "torch-geometric"}, hard

torch.manual_seed(0)
x, h_t, z_t = torch.randn(200, 16), torch.randn(200, 32), torch.randn(200, 4)
edge_index = torch.randint(0, 200, (2, 800))
student = torch.nn.Linear(16, 8)
classify = torch.nn.Linear(8, 4)
objective = graphkd.WeightedSum(
    kd=(1.0, graphkd.KDLoss()),
    gcrd=(0.1, graphkd.GCRDLoss(8, 32, 16)),
    lsp=(1.0, graphkd.LSPLoss()),
    gsp=(1.0, graphkd.GlobalLSPLoss()),
    fitnet=(1.0, graphkd.FitNetLoss(8, 32)),
    at=(1.0, graphkd.AttentionTransferLoss()),
)
parameters = [*student.parameters(), *classify.parameters(), *objective.parameters()]
optimizer = torch.optim.Adam(parameters, lr=0.01)
totals = []
for _ in range(30):
    optimizer.zero_grad()
    h_s = student(x)
    total, parts = objective(h_s=h_s, h_t=h_t, z_s=classify(h_s), z_t=z_t, edge_index=edge_index)
    total.backward()
    optimizer.step()
    totals.append(total.item())
assert totals[-1] < 0.9 * totals[0], totals
print(f"Wheel {version('graphkd')}: installed, imported, and a student learned from it")
