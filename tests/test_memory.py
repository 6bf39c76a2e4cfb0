"""Every loss of the table stays below 240 MiB in its default form, on 8,192 nodes of width 128.

Functions and Modules run, with heads and memories. An N × N matrix takes 256 MiB, so that none can
hide. A large codebook, context or memory replaces a small one of the table.
"""

import sys

import pytest
import torch

from tests.contract import LOSSES, Loss
from tests.peaks import peak_mib
from tests.rows.row import Options

NODES, WIDTH = 8192, 128

MEASURE = """
from tests.contract import LOSSES
from tests.test_memory import NODES, WIDTH, large
def peak(name, form, nodes=NODES, **options):
    loss = next(loss for loss in LOSSES if loss.name == name)
    def step(n):
        h_s, h_t, edge_index = loss.inputs(n=n, dims=(WIDTH, WIDTH), dtype=torch.float32)
        built, given = large(name, n, form)
        def run():
            if form == "Module":
                module = loss.build(WIDTH, WIDTH, **{**loss.variants[0], **built})
                value = loss.call_module(module, h_s, h_t, edge_index, **given)
            else:
                more = {"weight": torch.rand(n)} if loss.row_wise else {}
                value = loss.call(h_s, h_t, edge_index, **more, **given, **options)
            value.backward()
            assert value.isfinite() and h_s.grad.isfinite().all()
        return rise(run)
    step(64)   # libraries and workspaces are loaded
    return step(nodes)
"""


def large(name: str, nodes: int, form: str) -> tuple[Options, Options]:
    """Large arguments for building the Module and for the call, instead of the row's own."""
    if name == "crd":
        ids = {"ids": torch.arange(nodes)}
        if form == "Module":
            return {"num_nodes": nodes, "momentum": 0.5}, ids
        bank = torch.nn.functional.normalize(torch.randn(nodes, WIDTH))
        return {}, {**ids, "bank_s": bank, "bank_t": bank}
    if name == "simkd" and form == "Module":
        return {"classifier": torch.nn.Linear(WIDTH, 40)}, {}
    given: dict[str, Options] = {
        "vqgraph": {"codebook": torch.randn(2048, WIDTH)},
        "llp": {"context": torch.randint(0, nodes, (nodes, 12))},
        "mugsi": {
            "clusters": torch.randint(0, 1000, (nodes,)),
            "paths": torch.randint(0, nodes, (nodes // 10, 8)),
        },
    }
    return {}, given.get(name, {})


# These look at all pairs, and the Module adds nothing to its function: one run is enough.
SLOW = {"rkd", "pkt", "correlation_congruence", "gkd"}
CASES = [
    pytest.param(loss, form, id=f"{loss.name}-{form}")
    for loss in LOSSES
    for form in ("Module", "function")
    if not (loss.name in SLOW and form == "function")
]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("loss", "form"), CASES)
def test_default_form_takes_less_than_one_matrix_of_pairs(loss: Loss, form: str) -> None:
    mib = peak_mib(MEASURE, f"peak({loss.name!r}, {form!r})")
    assert mib < 240, f"{loss.name}: {mib:,.0f} MiB"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_soft_targets_take_less_than_one_matrix_of_pairs() -> None:
    """Of 6,000 nodes, it takes 137 MiB."""
    mib = peak_mib(MEASURE, "peak('gcrd', 'function', nodes=6_000, teacher_temperature=0.1)")
    assert mib < 100, f"{mib:,.0f} MiB"


LEARNED = """
import torch
import graphkd.functional as G
def learned(count):
    edges, weight = torch.randint(2000, (2, count)), torch.rand(count, requires_grad=True)
    z_s, z_t = torch.randn(2000, 50, requires_grad=True), torch.randn(2000, 50)
    value = lambda: G.low_frequency_loss(z_s, z_t, edges, edge_weight=weight)
    return rise(lambda: value().backward())
learned(64)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_weights_of_edges_that_learn_gather_no_row_for_each_edge() -> None:
    """400,000 rows of 50 numbers would take 153 MiB."""
    assert peak_mib(LEARNED, "learned(400_000)") < 100
