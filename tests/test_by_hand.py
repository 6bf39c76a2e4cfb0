"""The forms by hand of losses without a backend: the plain form's values and gradients."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import graphkd.functional as G
from graphkd import Graph
from graphkd.functional.features.fitnet import match_rows
from graphkd.ops import _blocks, chunked, reference, row_primitives
from graphkd.ops.reference.soft_targets import Softening

GRAPH = torch.tensor([3, 0, 3, 3, 0, 5, 5, 0, 3])
CASES = [
    ("unit_gap", ()),
    ("square_gap", ()),
    ("boundary_gap", (0.7,)),
    ("attention_gap", (None,)),
    ("attention_gap", (GRAPH,)),
]


def rows(scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """A dead row on each side, at places of their own."""
    h_s, h_t = scale * torch.randn(2, 9, 5, dtype=torch.float64)
    h_s[4], h_t[7] = 0, 0
    return h_s.requires_grad_(), h_t


@pytest.mark.parametrize("even", [True, False], ids=["mean", "weighed"])
@pytest.mark.parametrize(("name", "extras"), CASES, ids=lambda x: str(x)[:14])
def test_it_is_the_plain_form(name: str, extras: tuple, even: bool, monkeypatch) -> None:
    """In blocks of three rows; the gradient of a gradient goes through the plain form."""
    monkeypatch.setattr(_blocks, "CACHED", 15)
    h_s, h_t = rows()
    weights = torch.ones(()).double().expand(9) if even else torch.rand(9, dtype=torch.float64)
    found = []
    for side in (chunked, reference):
        values = getattr(side, name)(h_s, h_t, *extras)
        (plain,) = torch.autograd.grad(values, h_s, weights, retain_graph=True)
        (gradient,) = torch.autograd.grad(values, h_s, weights, create_graph=True)
        torch.testing.assert_close(plain, gradient)
        (second,) = torch.autograd.grad(gradient.square().sum(), h_s)
        found.append((values, gradient, second))
    for ours, wanted in zip(*found, strict=True):
        torch.testing.assert_close(ours, wanted)


def test_both_sides_of_fitnet_may_learn_and_depend_on_each_other() -> None:
    h = rows()[0]

    def gradients(formula: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
        (first,) = torch.autograd.grad(formula(h, h.tanh()), h, create_graph=True)
        return [first, *torch.autograd.grad(first.square().sum(), h)]

    plain = gradients(lambda s, t: reference.unit_gap(s, t).mean())
    for ours, wanted in zip(
        gradients(lambda s, t: match_rows(s, t, None, "mean")), plain, strict=True
    ):
        torch.testing.assert_close(ours, wanted)
    assert torch.autograd.grad(match_rows(h, h, None, "sum"), h)[0].abs().max() == 0


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_attention_of_any_scale(scale: float) -> None:
    """Where squares of squares leave float32, the plain form runs, which scales them."""
    h_s, h_t = (h.detach().float() for h in rows())
    for batch in (None, GRAPH):
        torch.testing.assert_close(
            G.attention_transfer_loss(scale * h_s, h_t, batch),
            G.attention_transfer_loss(h_s, h_t, batch),
        )


def test_torch_func_and_tracers_get_the_plain_form(monkeypatch) -> None:
    h_s, h_t = (h.detach() for h in rows())
    wanted = [torch.func.grad(lambda h: G.fitnet_loss(h, h_t))(h_s)]
    monkeypatch.setattr(row_primitives, "chunked", None)
    wanted.append(torch.func.grad(lambda h: G.fitnet_loss(h, h_t))(h_s))
    torch.testing.assert_close(*wanted)


@pytest.mark.parametrize("apart", [1e-4, 1e-2, 1.0])
def test_l2_of_few_rows_keeps_its_digits(apart: float) -> None:
    """Below 512 rows it tries the rows' precision, and keeps it only where the gaps are clear."""
    h_t = torch.randn(200, 32)
    h_s = (h_t + apart * torch.randn(200, 32)).requires_grad_()
    truth = h_s.detach().double().requires_grad_()
    value = G.global_lsp_loss(h_s, h_t, kernel="l2")
    exact = G.global_lsp_loss(truth, h_t.double(), kernel="l2")
    assert abs(float(value) / float(exact) - 1) < 3e-7
    value.backward()
    exact.backward()
    assert (h_s.grad - truth.grad).norm() < 2e-6 * truth.grad.norm()


@pytest.mark.parametrize("loss", [G.kd_loss, G.fitnet_loss, G.attention_transfer_loss])
def test_forward_derivatives(loss) -> None:
    x, y, along = torch.randn(3, 6, 4, dtype=torch.float64).unbind()
    with forward_ad.dual_level():
        given = forward_ad.unpack_dual(loss(forward_ad.make_dual(x, along), y)).tangent
    (gradient,) = torch.autograd.grad(loss(x.requires_grad_(), y), x)
    torch.testing.assert_close(given, (gradient * along).sum())


def pkt_reference(h_s, h_t):
    return G.pkt_loss(h_s, h_t, backend="reference")


def dkd_of_first(z_s, z_t):
    return G.dkd_loss(z_s, z_t, torch.arange(6) % 4)


@pytest.mark.parametrize(
    "loss", [G.kd_loss, dkd_of_first, G.dist_loss, G.fitnet_loss, pkt_reference]
)
def test_transforms_of_torch_func(loss) -> None:
    """An ensemble under vmap, and derivatives forward and twice, as of plain torch."""
    x, y, along = torch.randn(3, 2, 6, 4, dtype=torch.float64).unbind()
    each = [torch.func.grad_and_value(loss)(*pair) for pair in zip(x, y, strict=True)]
    gradients, values = (torch.stack(parts) for parts in zip(*each, strict=True))
    torch.testing.assert_close(torch.func.vmap(loss)(x, y), values)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(x, y), gradients)

    def of_first(z):
        return loss(z, y[0])

    _, tangent = torch.func.jvp(of_first, (x[0],), (along[0],))
    torch.testing.assert_close(tangent, (gradients[0] * along[0]).sum())
    wanted = torch.autograd.functional.hessian(of_first, x[0])
    torch.testing.assert_close(torch.func.hessian(of_first)(x[0]), wanted)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("loss", [G.kd_loss, dkd_of_first, G.fitnet_loss, G.pkt_loss])
def test_traces_of_torch_jit_decide_nothing_by_the_first_values(loss) -> None:
    """A trace made near convergence, where the forms by hand take a shorter way."""
    x, y, far = torch.randn(3, 6, 4).unbind()
    traced = torch.jit.trace(loss, (y + 1e-3 * x, y), check_trace=False)
    far = (20 * far).requires_grad_()
    value, wanted = traced(far, y), loss(far, y)
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(v, far) for v in (value, wanted)))


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_a_trace_of_torch_jit_along_edges_wants_a_graph() -> None:
    x, y = torch.randn(2, 6, 4).unbind()
    edges, x = torch.randint(6, (2, 20)), x.requires_grad_()
    with pytest.raises(TypeError, match=r"lsp_loss: torch.jit.trace .* Graph"):
        torch.jit.trace(lambda x, y: G.lsp_loss(x, y, edges), (x, y), check_trace=False)
    graph = Graph(edges, num_nodes=6)
    traced = torch.jit.trace(lambda x, y: G.lsp_loss(x, y, graph), (x, y), check_trace=False)
    torch.testing.assert_close(traced(2 * x, y), G.lsp_loss(2 * x, y, graph))


def test_vmap_of_no_rows() -> None:
    rows = torch.randn(3, 0, 4)
    assert (torch.func.vmap(G.dist_loss)(rows, rows) == 0).all()


def test_vmap_of_blocks_is_refused() -> None:
    x, y = torch.randn(2, 2, 6, 4).unbind()

    def in_blocks(h):
        return G.pkt_loss(h, y[0], backend="chunked", reduction="none")

    for run, h in ((torch.func.vmap(in_blocks), x), (torch.func.jacrev(in_blocks), x[0])):
        with pytest.raises(NotImplementedError, match=r"no batches of .*backend='reference'"):
            run(h)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_logits_may_change_in_place_after_kd(task: str) -> None:
    """As with plain torch: a buffer of the teacher's logits may be used again."""
    z, z_t = torch.randn(2, 20, 5).unbind()
    z_s = z.clone().requires_grad_()
    expected = torch.autograd.grad(G.kd_loss(z_s, z_t, task=task), z_s)[0]
    value = G.kd_loss(z_s, z_t, task=task)
    again = G.kd_loss(z_s, z_t, task=task)
    z_t.mul_(2)
    z_s.data.add_(1)
    assert torch.equal(torch.autograd.grad(value, z_s)[0], expected)
    with pytest.raises(RuntimeError, match="changed in place after the loss"):
        torch.autograd.grad(again, z_s, create_graph=True)


def _close(apart: float) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return lambda s, t: (s, s + apart * (2 * torch.rand_like(s) - 1))


HARD = {
    "one row far off": lambda s, t: (s, torch.cat([t[:1] + 200, t[1:]])),
    "all rows off": lambda s, t: (s, s + 20 + 0.1 * t),
    "a few rows overflow": lambda s, t: (torch.cat([300 * s[:2], s[2:]]), t),
    "large": lambda s, t: (100 * s, 100 * t),
    "a masked class": lambda s, t: tuple(torch.cat([z[:, :1] - 1e9, z[:, 1:]], 1) for z in (s, t)),
    "no class left": lambda s, t: (s - 1e3, t - 1e3),
    **{f"{apart} apart": _close(apart) for apart in (1e-4, 0.099, 0.101, 0.199, 0.201, 0.5)},
}


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_soft_targets_of_hard_rows_beside_easy_ones(kind: str, case: str) -> None:
    """Each quick form of a row gives way to another one, and no row changes those beside it."""
    s, t = HARD[case](*torch.randn(2, 30, 6).unbind())
    s.requires_grad_()
    truth = s.detach().double().requires_grad_()
    how = Softening(kind=kind)
    values = row_primitives.soft_targets(s, t, how)
    wanted = reference.soft_targets(truth, t.double(), how)
    torch.testing.assert_close(values.double(), wanted, rtol=1e-5, atol=1e-30)
    gradients = [torch.autograd.grad(x.sum(), y)[0] for x, y in ((values, s), (wanted, truth))]
    off = (gradients[0] - gradients[1]).norm(dim=1)
    assert (off <= 1e-5 * gradients[1].norm(dim=1) + 1e-30).all()


@pytest.mark.parametrize("size", [1e-8, 1.0, 30.0, 300.0, 2500.0])
@pytest.mark.parametrize("bias", [0.0, -70.0, 70.0])
@pytest.mark.parametrize("apart", [1e-6, 1e-3])
def test_kd_of_logits_of_any_size_keeps_its_digits_where_both_nearly_agree(
    size: float, apart: float, bias: float
) -> None:
    """Rows of large logits have one class that counts, and the value is that of the others."""
    z_t = size * torch.randn(40, 20)
    z_t += bias - z_t.amax(dim=1, keepdim=True) if bias else 0.0
    z_s = z_t + apart * size * torch.randn(40, 20)
    found = []
    for dtype in (torch.float32, torch.float64):
        z = z_s.to(dtype).requires_grad_()
        rows = G.kd_loss(z, z_t.to(dtype), temperature=1.0, reduction="none")
        found.append((rows.detach().double(), torch.autograd.grad(rows.sum(), z)[0].double()))
    for mine, truth in zip(*found, strict=True):
        torch.testing.assert_close(mine, truth, rtol=0, atol=2e-6 * float(truth.norm()))
