"""Values and gradients against the oracles, and against the released code times a factor."""

import pytest
import torch
import torch.nn.functional as F

import graphkd
import graphkd.functional as G
from tests.contract import KERNELS, Loss, every
from tests.oracles.contrast.gcrd import gcrd


@every(variants=True, backends=True)
def test_values_and_gradients_match_the_oracle(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    formula = {key: value for key, value in options.items() if key != "backend"}
    expected = loss.expected(h_s, h_t, edge_index, **formula)
    rows = loss.rows(h_s, h_t, edge_index, **options)
    torch.testing.assert_close(rows, expected, rtol=1e-10, atol=1e-12)

    weights = torch.rand(rows.shape, dtype=rows.dtype)
    (gradient,) = torch.autograd.grad((rows * weights).sum(), h_s)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), h_s)
    torch.testing.assert_close(gradient, wanted, rtol=1e-8, atol=1e-10)


@every(variants=True, where=lambda loss: loss.row_wise)
def test_reductions_agree(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    rows = loss.call(h_s, h_t, edge_index, **options, reduction="none")
    total = loss.call(h_s, h_t, edge_index, **options, reduction="sum")
    mean = loss.call(h_s, h_t, edge_index, **options)
    only = loss.edges and loss.edges_only
    count = edge_index[1].unique().numel() if only else rows.numel()
    torch.testing.assert_close(total, rows.sum())
    torch.testing.assert_close(mean, rows.sum() / count)


@every(variants=True, where=lambda loss: loss.row_wise and loss.selects_first)
@pytest.mark.parametrize("kind", ["mask", "numbers"])
def test_index_selects_rows(loss: Loss, options: dict, kind: str) -> None:
    h_s, h_t, edge_index = loss.inputs()
    index = torch.tensor([4, 0, 7])
    if kind == "mask":
        index = torch.zeros(9, dtype=torch.bool).index_fill(0, index, True)
    rows = loss.call(h_s, h_t, edge_index, **options, reduction="none", index=index)
    if loss.edges:  # it restricts centres only
        into = torch.isin(edge_index[1], torch.arange(9)[index])
        wanted = loss.call(h_s, h_t, edge_index[:, into], **options, reduction="none")[index]
    else:
        wanted = loss.call(h_s[index], h_t[index], **options, reduction="none")
    torch.testing.assert_close(rows, wanted)


def released_softmax(values: torch.Tensor, segment: torch.Tensor, n: int) -> torch.Tensor:
    exp = values.exp()
    return exp / exp.new_zeros(n).index_add(0, segment, exp)[segment]


@pytest.mark.parametrize("options", KERNELS[1:5], ids=lambda o: o["kernel"])
@pytest.mark.parametrize("divergence", ["kl", "mse"])
def test_lsp_is_the_released_value_times_e(options: dict, divergence: str) -> None:
    h_s, h_t = torch.rand(20, 6, dtype=torch.float64), torch.rand(20, 4, dtype=torch.float64)
    edge_index = torch.randint(0, 20, (2, 80))
    src, dst = edge_index
    kernel = {
        "cosine": lambda x, y: F.cosine_similarity(x, y),
        "poly": lambda x, y: F.cosine_similarity(x, y) ** 2,
        "l2": lambda x, y: (x - y).norm(dim=-1),
        "rbf": lambda x, y: torch.exp(-0.5 * ((x - y) ** 2).sum(-1)),
    }[options["kernel"]]
    p, q = (released_softmax(kernel(h[src], h[dst]), dst, 20) for h in (h_s, h_t))
    released = F.mse_loss(p, q) if divergence == "mse" else F.kl_div(p.log(), q)
    ours = G.lsp_loss(h_s, h_t, edge_index, **options, divergence=divergence, reduction="sum")
    torch.testing.assert_close(ours / 80, released, rtol=1e-6, atol=1e-12)


def test_kd_is_the_released_value_times_t_squared_times_c() -> None:
    z_s, z_t = torch.randn(2, 30, 11, dtype=torch.float64).unbind()
    released = F.kl_div((z_s / 4).log_softmax(1), (z_t / 4).softmax(1))
    torch.testing.assert_close(G.kd_loss(z_s, z_t), released * 16 * 11)


def test_multilabel_kd_has_the_released_gradient_without_its_offset() -> None:
    z_s, z_t = torch.randn(2, 30, 11, dtype=torch.float64).unbind()
    z_s.requires_grad_()
    released = F.binary_cross_entropy_with_logits(z_s, z_t.sigmoid())
    ours = G.kd_loss(z_s, z_t, temperature=1.0, task="multilabel")
    offset = F.binary_cross_entropy_with_logits(z_t, z_t.sigmoid())
    torch.testing.assert_close(ours, released - offset)
    torch.testing.assert_close(torch.autograd.grad(ours, z_s), torch.autograd.grad(released, z_s))


def test_the_other_values_are_the_released_ones() -> None:
    s, t = torch.randn(2, 30, 8, dtype=torch.float64).unbind()
    u, v = F.normalize(s), F.normalize(t)
    torch.testing.assert_close(G.fitnet_loss(s, t), F.mse_loss(u, v))
    a, b = (F.normalize(h.pow(2).sum(-1), dim=-1) for h in (s, t))
    torch.testing.assert_close(G.attention_transfer_loss(s, t), F.mse_loss(a, b))
    torch.testing.assert_close(
        G.gcrd_loss(s, t), F.cross_entropy(u @ v.T / 0.075, torch.arange(30))
    )
    torch.testing.assert_close(G.global_lsp_loss(s, t), F.mse_loss(u @ u.T, v @ v.T))


def test_masked_entries_do_not_count() -> None:
    z_s, z_t = torch.randn(2, 6, 4, dtype=torch.float64).unbind()
    mask = torch.rand(6, 4) > 0.4
    hole = z_t.masked_fill(~mask, torch.nan)
    for task in ("multilabel", "regression"):
        value = G.kd_loss(z_s, hole, task=task, mask=mask)
        each = torch.stack([G.kd_loss(a.view(1, 1), b.view(1, 1), task=task)
                            for a, b in zip(z_s[mask], z_t[mask], strict=True)])  # fmt: skip
        torch.testing.assert_close(value, each.mean())
        rows = G.kd_loss(z_s, hole, task=task, mask=mask, reduction="none")
        torch.testing.assert_close(rows.mean(), value)
    empty = G.kd_loss(z_s.requires_grad_(), z_t, task="regression", mask=torch.zeros_like(mask))
    assert empty.item() == 0
    empty.backward()


def test_attention_transfer_of_a_batch_is_per_graph() -> None:
    h_s, h_t = torch.randn(9, 3, dtype=torch.float64), torch.randn(9, 5, dtype=torch.float64)
    batch = torch.tensor([7, 0, 0, 7, 2, 2, 2, 7, 0])
    rows = G.attention_transfer_loss(h_s, h_t, batch, reduction="none")
    for graph in (0, 2, 7):
        own = batch == graph
        alone = G.attention_transfer_loss(h_s[own], h_t[own], reduction="none")
        torch.testing.assert_close(rows[own], alone)


def test_callable_kernels_are_the_named_ones() -> None:
    h_s, h_t = torch.randn(9, 3, dtype=torch.float64), torch.randn(9, 5, dtype=torch.float64)
    edge_index = torch.randint(0, 9, (2, 30))

    def dot(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x * y).sum(-1)

    torch.testing.assert_close(
        G.lsp_loss(h_s, h_t, edge_index, kernel=dot),
        G.lsp_loss(h_s, h_t, edge_index, kernel="linear"),
    )
    torch.testing.assert_close(
        G.global_lsp_loss(h_s, h_t, kernel=dot), G.global_lsp_loss(h_s, h_t, kernel="linear")
    )
    with pytest.raises(ValueError, match="last dimension"):
        G.global_lsp_loss(h_s, h_t, kernel=lambda x, y: x @ y.transpose(-1, -2))
    with pytest.raises(ValueError, match="reference backend only"):
        G.global_lsp_loss(h_s, h_t, kernel=dot, backend="chunked")


def test_bipartite_lsp_is_the_square_one_on_the_joined_graph() -> None:
    src_s, dst_s = torch.randn(6, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    src_t, dst_t = torch.randn(6, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    edge_index = torch.stack([torch.randint(0, 6, (15,)), torch.randint(0, 4, (15,))])
    rows = G.lsp_loss((src_s, dst_s), (src_t, dst_t), edge_index, reduction="none")
    joined = torch.stack([edge_index[0], edge_index[1] + 6])
    wanted = G.lsp_loss(
        torch.cat([src_s, dst_s]), torch.cat([src_t, dst_t]), joined, reduction="none"
    )
    torch.testing.assert_close(rows, wanted[6:])


@pytest.mark.parametrize("backend", ["reference", "chunked"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("temperature", [0.02, 0.5])
@pytest.mark.parametrize("chunk_size", [None, 1, 4, 30])
def test_extra_keys_are_negatives(
    backend: str, symmetric: bool, temperature: float, chunk_size: int | None
) -> None:
    h_s, h_t, keys = torch.randn(27, 5, dtype=torch.float64).split([9, 9, 9])
    keys = torch.cat([keys, keys[:4] + 1])
    h_s.requires_grad_()
    options = {"symmetric": symmetric, "temperature": temperature}
    rows = G.gcrd_loss(h_s, h_t, extra_keys=keys, reduction="none", backend=backend,
                       chunk_size=chunk_size, **options)  # fmt: skip
    wanted = gcrd(h_s, h_t, extra_keys=keys, **options)
    torch.testing.assert_close(rows, wanted)
    for weights in (torch.rand(9, dtype=torch.float64), torch.full((9,), 0.3)):
        torch.testing.assert_close(
            torch.autograd.grad((rows * weights).sum(), h_s, retain_graph=True),
            torch.autograd.grad((wanted * weights).sum(), h_s, retain_graph=True),
        )


def test_extra_keys_train_the_teachers_head_through_the_positives_alone() -> None:
    loss = graphkd.GCRDLoss(5, 6, 4, head="linear").double()
    h_s, h_t = torch.randn(9, 5, dtype=torch.float64), torch.randn(9, 6, dtype=torch.float64)
    keys = torch.randn(20, 4, dtype=torch.float64, requires_grad=True)
    loss(h_s, h_t, extra_keys=keys).backward()
    assert keys.grad is None
    assert all(p.grad.abs().sum() > 0 for p in loss.parameters() if p.dim() == 2)
    none = torch.empty(0, 4, dtype=torch.float64)
    torch.testing.assert_close(loss(h_s, h_t, extra_keys=none), loss(h_s, h_t))
    for wrong, error in ((keys[:, :3], ValueError), (keys.long(), TypeError)):
        with pytest.raises(error, match="extra_keys"):
            loss(h_s, h_t, extra_keys=wrong)
    with pytest.raises(ValueError, match=r"\(9, 5\) and \(20, 5\)"):
        G.gcrd_loss(h_s, torch.randn(20, 5, dtype=torch.float64))
