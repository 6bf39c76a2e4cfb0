"""The cheat sheet of all losses, docs/losses/cheatsheet.md, made from the contract table.

    python -m tests.cheat_sheet     # write the page

What a row's value depends on is tried out, what a loss takes is read from its signatures, and links
and costs are those of docs/losses/index.md. A test compares the page with what this file makes.
"""

import inspect
import re
from pathlib import Path

import torch
from torch import Tensor

from graphkd import HeteroLoss
from tests.contract import LOSSES, Loss

DOCS = Path(__file__).resolve().parents[1] / "docs" / "losses"
PAGE = DOCS / "cheatsheet.md"
YES, NO = "✓", ""
# What a user must have beside embeddings or logits and edges, by the name of the argument.
NEEDS = {
    "y": "`y`", "reliability": "`reliability`", "context": "contexts", "codebook": "a codebook",
    "clusters": "clusters, paths",
}  # fmt: skip
INTRO = """<!-- Written by python -m tests.cheat_sheet. -->
# Cheat sheet

All losses, and what each takes. It is made from the table that the tests run on.

- *A row depends on*: which rows of student and teacher the value of one row looks at. Where it is
  the row alone, a mini-batch gives the values that the whole graph gives. Where it is the
  neighbours, it does for the seeds whose neighbours are all there. Where it is all rows, they are
  those of the call: a batch compares within itself.
- *Weights*: `weight=` for rows, *edges* if there is `edge_weight=`, too. *Index*: `index=` and
  `reduction=`.
- *By type*: the keys under which `HeteroLoss` takes it, any or those of edge types. *Ranks*:
  `process_group=` makes it exact over processes.
- *GPU programs*: `backend="triton"`. Without them a loss runs in plain torch, on a GPU as well.
- *Learns*: it has parameters by default, which go to the optimiser.
- *Twice*: second derivatives; † by `backend="reference"`.
- `LayerwiseLoss`, `MultiTeacherLoss`, `WeightedSum` and `HeteroLoss` take what their losses take.
- Costs are time, then memory beyond the gradient, for N rows, E edges, width d and C classes.
"""


def page() -> str:
    links = dict(listed())
    head = ["loss", "needs", "a row depends on", "weights", "index", "by type", "ranks",
            "GPU programs", "learns", "twice", "cost"]  # fmt: skip
    losses = {loss.module.__name__: loss for loss in LOSSES}
    if missing := losses.keys() - links.keys():
        raise SystemExit(f"docs/losses/index.md lacks {', '.join(missing)}.")
    rows = [
        [link, *facts(losses[name]), cost]
        for name, (link, cost) in links.items()
        if name in losses and "(several/" not in link
    ]
    lines = [" | ".join(row) for row in (head, ["---", *[":-:"] * (len(head) - 1)], *rows)]
    table = "\n".join(f"| {line} |" for line in lines)
    return f"{INTRO}\n::::{{div}} wide\n{table}\n::::\n"


def listed() -> list[tuple[str, tuple[str, str]]]:
    """The class, link and cost of each loss, as the list of all losses has them."""
    text = (DOCS / "index.md").read_text()
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| [`")]
    found: dict[str, tuple[str, str]] = {}
    for first, *_, cost, _ in (row if len(row) > 4 else [*row, ""] for row in cells):
        name, page = re.match(r"\[`(\w+)\(.*\]\((.*)\)$", first).groups()
        found.setdefault(name, (f"[{name}]({page})", cost))
    return [*found.items()]


def facts(loss: Loss) -> list[str]:
    takes = {*inspect.signature(loss.module.forward).parameters}
    options = {*inspect.signature(loss.module).parameters}
    weights = "rows" if loss.row_wise and "weight" in takes else NO
    return [
        needs(loss, takes),
        depends_on(loss),
        ", ".join(filter(None, [weights, "edges" if "edge_weight" in takes else NO])),
        YES if "index" in takes else NO,
        "any" if by_node_type(loss) else "edges",
        YES if "process_group" in options else NO,
        YES if has_programs(loss) else NO,
        YES if any(p.requires_grad for p in loss.build().parameters()) else NO,
        NO if not loss.smooth else "†" if "backend" in options else YES,
    ]


def needs(loss: Loss, takes: set[str]) -> str:
    layers = isinstance(loss.arrange(*loss.inputs()[:2])[0], list | tuple)
    first = "layers" if layers else "logits" if loss.logits else "embeddings"
    more = [text for name, text in NEEDS.items() if name in takes]
    return ", ".join([first, *(["edges"] if loss.edges else []), *more])


def by_node_type(loss: Loss) -> bool:
    try:
        HeteroLoss({"paper": (1.0, loss.build())})
    except TypeError as error:
        if "needs edges" not in str(error):
            raise
        return False
    return True


def has_programs(loss: Loss) -> bool:
    try:
        loss.build(backend="triton")
    except (TypeError, ValueError):
        return False
    return True


def depends_on(loss: Loss) -> str:
    """What changes the value of row 0: its own row, a neighbour's, or any other's."""
    if not loss.row_wise:
        return "one value for all"
    h_s, h_t, _ = loss.inputs(n=12)
    ring = torch.stack([torch.arange(12), (torch.arange(12) + 1) % 12])
    edges = torch.cat([ring, ring.flip(0)], dim=1)

    def changed(row: int) -> bool:
        moved = [h.detach().clone() for h in (h_s, h_t)]
        for h in moved:
            h[row, 1:] += torch.arange(1, h.size(1))
        return not torch.allclose(value(loss, *moved, edges), before, atol=1e-12)

    before = value(loss, h_s.detach(), h_t, edges)
    if "context" in inspect.signature(loss.module.forward).parameters:
        return "its context"
    if changed(6):
        return "all rows"
    if changed(1):
        return "its neighbours"
    return "itself, a memory" if "bank_s" in inspect.signature(loss.module).parameters else "itself"


def value(loss: Loss, h_s: Tensor, h_t: Tensor, edges: Tensor) -> Tensor:
    return loss.rows(h_s, h_t, edges)[0]


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"Written: {PAGE}")
