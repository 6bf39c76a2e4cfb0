"""What makes G-CRD help: variants of it, each tuned as every method is, and losses in balance.

Beside them stand the cells' own "gcrd" (heads of Linear, BatchNorm and ReLU, the own row as the one
positive, all rows distilled of which 1,024 at most are drawn in a step, temperature and weight
tuned), and its copy at the paper's temperature. A variant is one of these two with one change. What
it does not fix is looked for.
"""

from typing import NamedTuple

from .plan import PAPER_GCRD


class Cell(NamedTuple):
    dataset: str
    teacher: str
    student: str
    level: str = "node"


# Where the variants are compared, if no data set is named.
CELLS = [
    Cell("Digits", "GAT", "MLP"),
    Cell("Digits", "GAT", "GCN"),
    Cell("Cora", "GAT", "MLP"),
    Cell("Photo", "GAT", "MLP"),
]

# The paper's 0.075 is among the cells' methods.
TEMPERATURES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
TEACHER_TEMPERATURES = (0.05, 0.1, 0.2)
# What the paper does: temperatures from 0.05 to 0.1, and projections 256 wide, where ours are 64.
# Its other choices are those of both bases.
PAPER = {"gcrd[temperature=0.05]", PAPER_GCRD, "gcrd[temperature=0.1]", "gcrd[proj_dim=256]"}

CHANGES = {
    "heads": ("head=linear", "head=student", "proj_dim=256"),
    "directions": ("symmetric=True",),
    "targets": tuple(f"teacher_temperature={t}" for t in TEACHER_TEMPERATURES),
    "negatives": (
        "max_samples=256", "max_samples=None", "num_negatives=64,max_samples=None",
        "num_negatives=256,max_samples=None",
    ),
}  # fmt: skip
# Of nodes alone: graphs have no edges between them, and all have labels.
OF_NODES = {"positives": ("positives=edges", "positives=classes"), "rows": ("nodes=labelled",)}
# Of batches alone: a whole graph has all keys in each step already.
OF_BATCHES = {"queue": ("queue_size=1024,max_samples=None",)}
# The changes that help most, in the sum with KD, which keeps the setting that it has alone.
BESIDE_KD = ["kd+gcrd[teacher_temperature=0.05]", "kd+gcrd[positives=classes]"]
# The changes that may repair what the paper's temperature does.
REPAIRS = ("heads", "directions", "targets", "positives")


def variants(task: str) -> dict[str, list[str]]:
    """The methods to compare, by what they change.

    Args:
        task: "node" or "graph".
    """
    changes = CHANGES | (OF_NODES if task == "node" else OF_BATCHES)
    found = {"temperature": [f"gcrd[temperature={t}]" for t in TEMPERATURES]}
    found |= {name: [f"gcrd[{one}]" for one in ones] for name, ones in changes.items()}
    paper = PAPER_GCRD.removesuffix("]")
    for name in REPAIRS:
        found[f"{name}, at the paper's temperature"] = [
            f"{paper},{one}]" for one in changes.get(name, ())
        ]
    found["beside KD"] = BESIDE_KD
    found["balanced"] = [f"balanced:{name}" for name in ("kd", "gcrd", "kd+gcrd", "lsp", "fitnet")]
    return found


def names(task: str) -> list[str]:
    """The methods of `variants`."""
    return [name for group in variants(task).values() for name in group]
