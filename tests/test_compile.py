"""torch.compile(fullgraph=True, dynamic=True) of every loss, with two batch sizes."""

import os

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

import graphkd
from tests.contract import TRITON, Loss, every
from tests.rows.row import SEED

# Before torch 2.10, fullgraph=True refuses shapes that depend on values: those of a mask, and of
# PyG's GCNConv. Without it, torch compiles what comes before and after.
VALUES_GIVE_SHAPES = torch.__version__ >= (2, 10)

# Each statistic of a kernel, both divergences, and a bandwidth that depends on the rows.
LSP = (
    {"kernel": "linear", "divergence": "kl"},
    {"kernel": "l2", "divergence": "mse"},
    {"kernel": "rbf", "gamma": "median", "divergence": "kl"},
)


def worth_compiling(loss: Loss, options: dict) -> bool:
    """The second variant in chunks, three of LSP, all of G-CRD and Global LSP, Triton's first.

    Each Module compiles the first variant, below. A plain form compiles as torch does, and programs
    for GPUs are opaque to the compiler. With COMPILE_EVERY_VARIANT, all of them in every form:
    ``benchmarks/mutation.py`` asks what they add.
    """
    if os.environ.get("COMPILE_EVERY_VARIANT"):
        return True
    variant = {name: value for name, value in options.items() if name != "backend"}
    if options.get("backend") in TRITON:
        return variant == loss.variants[0]
    if loss.name == "lsp" and variant not in LSP:
        return False
    some = loss.variants if loss.name in ("gcrd", "global_lsp", "lsp") else loss.variants[:2]
    return variant in some[1:] and options.get("backend") == "chunked"


def written_by_hand(value: torch.Tensor) -> bool:
    """Whether autograd's graph of a value has a Function of the package."""
    seen, waiting = set(), [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return True
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
    return False


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch._dynamo.reset()


@every(variants=True, backends=True, keep=worth_compiling)
def test_functions_compile(loss: Loss, options: dict) -> None:
    counter = CompileCounterWithBackend("aot_eager")

    @torch.compile(fullgraph=True, dynamic=True, backend=counter)
    def compiled(h_s, h_t, edge_index):
        return loss.call(h_s, h_t, edge_index, **options)

    for n in (24, 31, 40):
        h_s, h_t, edge_index = loss.inputs(n=n)
        torch.manual_seed(SEED)  # for a loss that draws
        value = compiled(h_s, h_t, edge_index)
        expected = loss.call(h_s, h_t, edge_index, **options)
        torch.testing.assert_close(value, expected)
        gradients = [torch.autograd.grad(v, h_s)[0] for v in (value, expected)]
        torch.testing.assert_close(*gradients)
    assert counter.frame_count <= 2


@every()
def test_modules_compile_with_an_index(loss: Loss, options: dict) -> None:
    dims = loss.inputs(n=1)[0].size(1), loss.inputs(n=1)[1].size(1)
    module = loss.build(*dims, **options).double().eval()
    # All are captured, as one graph. Gradients are captured, too, where they are written by hand,
    # unless the test above does it with another variant.
    value = loss.call_module(module, *loss.inputs(n=24))
    above = any(worth_compiling(loss, {**v, "backend": "chunked"}) for v in loss.variants)
    traced = written_by_hand(value) and not (above and loss.backends)
    counter = CompileCounterWithBackend("aot_eager" if traced else "eager")
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=counter)
    for n in (24, 31, 40):
        h_s, h_t, edge_index = loss.inputs(n=n)
        chosen = {}
        if loss.row_wise:
            weight = torch.rand(n, dtype=torch.float64)
            chosen = {"index": torch.tensor([3, 20, 7, 7]), "weight": weight}
        expected = loss.call_module(module, h_s, h_t, edge_index, **chosen)  # says its warnings
        value = loss.call_module(compiled, h_s, h_t, edge_index, **chosen)
        torch.testing.assert_close(value, expected)
        gradients = [torch.autograd.grad(v, h_s)[0] for v in (value, expected)]
        torch.testing.assert_close(*gradients)
    assert counter.frame_count <= 2


@every(where=lambda loss: loss.row_wise and loss.masks_compile)
def test_masks_compile(loss: Loss, options: dict) -> None:
    """BatchNorm in row-wise heads and sampled rows are left out: they need a known row count."""
    h_s, h_t, edge_index = loss.inputs(n=24)
    module = loss.build(h_s.size(1), h_t.size(1), **options).double()
    # Whether the rows that a mask selects can be captured is asked of all, and the rest of one.
    backend = "aot_eager" if loss.name == "gcrd" else "eager"
    compiled = torch.compile(module, fullgraph=VALUES_GIVE_SHAPES, backend=backend)
    mask = torch.arange(24) % 3 == 0
    torch.testing.assert_close(
        loss.call_module(compiled, h_s, h_t, edge_index, index=mask),
        loss.call_module(module, h_s, h_t, edge_index, index=mask),
    )


def test_a_graph_and_a_graph_head_compile() -> None:
    h_s, h_t = torch.randn(24, 5, requires_grad=True), torch.randn(24, 7)
    edge_index = torch.randint(0, 24, (2, 70))
    graph = graphkd.Graph(edge_index, 24)
    lsp = torch.compile(graphkd.LSPLoss(), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(lsp(h_s, h_t, graph), graphkd.LSPLoss()(h_s, h_t, edge_index))
    gcrd = graphkd.GCRDLoss(5, 7, 4, head="gcn").eval()
    compiled = torch.compile(gcrd, fullgraph=VALUES_GIVE_SHAPES, backend="aot_eager")
    torch.testing.assert_close(compiled(h_s, h_t, edge_index), gcrd(h_s, h_t, edge_index))


def test_sampling_compiles() -> None:
    h_s, h_t = torch.randn(40, 5, requires_grad=True), torch.randn(40, 7)
    compiled = torch.compile(
        graphkd.GlobalLSPLoss(max_samples=8), fullgraph=True, backend="aot_eager"
    )
    compiled(h_s, h_t).backward()
    assert h_s.grad.isfinite().all()


def test_a_balanced_sum_compiles() -> None:
    """Gradients are measured between compiled parts, whose buffers a second gradient may need."""
    h_t, z_t, y = torch.randn(24, 7), torch.randn(24, 4), torch.arange(24) % 4
    totals, found = [], []
    for compiled in (False, True):
        torch.manual_seed(SEED)
        objective = graphkd.WeightedSum(
            kd=(1.0, graphkd.KDLoss()), gcrd=(1.0, graphkd.GCRDLoss(5, 7, 4)), balance=True
        )
        classify, rows = torch.nn.Linear(5, 4), torch.randn(24, 5, requires_grad=True)
        if compiled:
            objective.compile(backend="aot_eager", dynamic=True)
        for n in (24, 20):
            h_s = 2 * rows[:n]
            z_s = classify(h_s)
            task = torch.nn.functional.cross_entropy(z_s, y[:n])
            total, _ = objective(task_loss=task, h_s=h_s, h_t=h_t[:n], z_s=z_s, z_t=z_t[:n])
            (task + total).backward()
            totals.append(total.detach())
        found.append([rows.grad, *objective.factors().values()])
    torch.testing.assert_close(totals[:2], totals[2:])
    torch.testing.assert_close(*found)


def test_one_loss_through_the_default_compiler() -> None:
    h_s, h_t = torch.randn(40, 5, requires_grad=True), torch.randn(40, 7)
    loss = graphkd.GCRDLoss(5, 7, 4)
    torch.testing.assert_close(
        torch.compile(loss, fullgraph=True)(h_s, h_t), loss(h_s, h_t), rtol=1e-4, atol=1e-5
    )


@every(
    variants=True,
    where=lambda loss: loss.backends,
    keep=lambda loss, options: loss.name != "lsp" or options in LSP,
)
def test_operators_pass_opcheck(loss: Loss, options: dict) -> None:
    """The custom operators' schemas, fakes and shapes, on the inputs that the loss gives."""
    seen = []

    class Record(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.namespace == "graphkd":
                seen.append((func, tuple(
                    a.detach().clone() if isinstance(a, torch.Tensor) else a for a in args
                )))  # fmt: skip
            return func(*args, **(kwargs or {}))

    h_s, h_t, edge_index = loss.inputs(n=9)
    for way in (
        {"backend": "chunked", "chunk_size": 4},
        *({"backend": b} for b in TRITON if b in loss.backends_for(options)),
    ):
        before = len(seen)
        with Record():
            loss.call(h_s, h_t, edge_index, **options, **way).backward()
        assert len(seen) >= before + 2  # a forward and a backward
    for operator, args in seen:
        torch.library.opcheck(operator, args, test_utils=("test_schema", "test_faketensor"))
