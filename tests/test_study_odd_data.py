"""The study on data sets whose labels, features, masks or sizes are not those of the usual ones."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData, TemporalData

from examples.study import batches, data, files, fit, models, splits

N = 200
OPTIONS = {"width": 4, "layers": 2, "dropout": 0.0, "norm": None}
Read = Callable[..., data.Problem]


def graph(**own: Any) -> Data:
    """A graph of four classes, in which attributes are replaced by others, or left out if None."""
    draw = torch.Generator().manual_seed(0)
    edge_index = torch.randint(N, (2, 600), generator=draw)
    made = Data(x=torch.randn(N, 6, generator=draw), y=torch.arange(N) % 4, edge_index=edge_index)
    return made.update(own)


def typed(**own: Any) -> HeteroData:
    """Papers with x and y, or with attributes of their own, and authors."""
    made = HeteroData()
    made["paper"].update({"x": torch.randn(N, 6), "y": torch.arange(N) % 4, **own})
    made["author"].num_nodes = 20
    made["author", "writes", "paper"].edge_index = torch.stack(
        [torch.arange(N) % 20, torch.arange(N)]
    )
    return made


def many(count: int, y: Callable[[int], Any], **more: Any) -> list[Data]:
    edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
    return [
        Data(edge_index=edges, y=y(i), num_nodes=3, **{k: make(i) for k, make in more.items()})
        for i in range(count)
    ]


def forget() -> None:
    for cached in (data.load, data._prepared, data._with_hops, data._uniform):
        cached.cache_clear()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    """The problem of some graphs, which are called Odd."""

    def problem(*found: Any, setting: str = "transductive", name: str = "Odd") -> data.Problem:
        parts = found[0] if isinstance(found[0], dict) else {"all": [*found]}
        monkeypatch.setitem(files.GENERATED, "Odd", lambda: parts)
        forget()
        return data.problem(name, "", 0, setting)

    yield problem
    forget()


# Labels and features of one graph -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "setting"),
    [(graph, "transductive"), (graph, "production"), (typed, "transductive")],
)
def test_numbers_are_standardised_and_may_be_negative(
    read: Read, make: Callable[..., Any], setting: str
) -> None:
    y = torch.linspace(-500, 1500, N)[torch.randperm(N)].where(torch.arange(N) % 5 > 0, torch.nan)
    problem = read(make(y=y), setting=setting)
    (learn,) = problem.learn
    assert (problem.kind, problem.outputs, learn.y.size(1)) == ("regression", 1, 1)
    masks = [learn[f"{part}_mask"] for part in data.PARTS]
    used = learn.y[masks[0] | masks[1] | masks[2]]
    assert not used.isnan().any()
    assert (used < 0).any()
    train = learn.y[learn.train_mask]
    torch.testing.assert_close(problem.center, train.mean(0))
    torch.testing.assert_close(problem.spread, train.std(0, correction=0))
    right = (train - problem.center) / problem.spread
    assert fit.task_loss(right, train, problem) == 0
    assert fit.score(right, train, problem) == pytest.approx(0, abs=1e-3)


def test_numbers_cannot_be_wrong_by_a_share(read: Read) -> None:
    for y in (torch.randn(N), torch.randn(N, 3)):
        with pytest.raises(SystemExit, match="numbers cannot be wrong"):
            read(graph(y=y), name="Odd[labels=0.5]")
    turned = read(graph(y=torch.ones(N, 3)), name="Odd[labels=1.0]").learn[0]
    assert turned.y[turned.train_mask].sum() == 0


def test_rows_are_known_if_any_label_is() -> None:
    y = torch.tensor([[torch.nan, 1.0], [torch.nan, torch.nan], [-3.0, 2.0]])
    assert splits.known(y).tolist() == [True, False, True]
    assert splits.known(torch.tensor([-1, 0, 3])).tolist() == [False, True, True]


@pytest.mark.parametrize("make", [graph, typed])
@pytest.mark.parametrize(
    "y",
    [
        (torch.arange(N) % 4).float().where(torch.arange(N) % 3 > 0, torch.nan),
        (torch.arange(N) % 4).int(),
        (torch.arange(N) % 4).view(N, 1),
        (torch.arange(N) % 4).to(torch.uint8),
        torch.arange(N) % 2 == 0,
    ],
    ids=["float", "int32", "column", "uint8", "bool"],
)
def test_classes_in_any_form(read: Read, make: Callable[..., Any], y: Tensor) -> None:
    problem = read(make(y=y))
    (learn,) = problem.learn
    assert problem.kind == ("binary" if y.dtype == torch.bool else "multiclass")
    assert (learn.y.dtype, learn.y.shape) == (torch.long, (N,))
    assert torch.equal(learn.y[learn.test_mask].double(), y.view(-1)[learn.test_mask].double())
    assert fit.task_loss(torch.zeros(N, problem.outputs), learn.y, problem) > 0


@pytest.mark.parametrize("make", [graph, typed])
@pytest.mark.parametrize(
    "x",
    [
        torch.randn(N, 5).double(),
        torch.randint(9, (N, 5)),
        torch.rand(N, 5) < 0.5,
        torch.randn(N),
        (torch.rand(N, 50) < 0.02).long(),
        (torch.rand(N, 50) < 0.02).float().to_sparse_csr(),
        (torch.rand(N, 50) < 0.02).float().to_sparse_coo(),
    ],
    ids=["double", "long", "bool", "vector", "words", "CSR", "COO"],
)
def test_features_in_any_form(read: Read, make: Callable[..., Any], x: Tensor) -> None:
    problem = read(make(x=x))
    (learn,) = problem.learn
    found = learn.x if make is graph else learn["paper"].x
    assert (found.dtype, found.dim()) == (torch.float, 2)
    assert problem.features == (x.size(1) if x.dim() == 2 else 1)
    if make is graph:
        model = models.build("SIGN", problem, OPTIONS)
        assert model(learn).shape == (N, 4)


def test_wide_sparse_features_are_reduced_as_dense_ones() -> None:
    x = (torch.rand(60, data.WIDEST + 100) < 0.01).float()
    dense = data.features("Odd", x)
    for layout in (torch.sparse_csr, torch.sparse_coo):
        found = data.features("Odd", x.to_sparse(layout=layout))
        assert found.shape == (60, 60)
        # The signs of components are arbitrary; the angles between rows are not.
        torch.testing.assert_close(found @ found.T, dense @ dense.T, rtol=1e-3, atol=1e-4)


def test_features_of_width_0_are_none(read: Read) -> None:
    assert read(graph(x=torch.empty(N, 0))).features == 5  # what the degrees say
    other = typed()
    other["author"].x = torch.empty(20, 0)
    assert "x" not in read(other).learn[0]["author"]
    some = {what: lambda i: torch.empty(3, 0) for what in ("x", "edge_attr")}
    first = read(*many(20, lambda i: torch.tensor([i % 2]), **some)).learn[0]
    assert first.x.tolist() == [[1], [1], [1]]
    assert "edge_attr" not in first


def test_features_without_a_value_are_refused(read: Read) -> None:
    x = torch.ones(N, 3)
    x[4, 1] = torch.inf
    for made in (graph(x=x), typed(x=x), graph(x=x.to_sparse_csr())):
        with pytest.raises(SystemExit, match=r"^Odd: `x` holds NaN or infinity"):
            read(made)
    some = many(20, lambda i: torch.tensor([i % 2]), x=lambda i: torch.full((3, 1), torch.nan))
    with pytest.raises(SystemExit, match=r"^Odd: `x` holds NaN"):
        read(*some)


def test_negative_whole_numbers_are_no_categories(read: Read) -> None:
    label, x = (lambda i: torch.tensor([i % 2])), (lambda i: torch.tensor([[i], [2], [-1]]))
    first = read(*many(20, label, x=x, edge_attr=lambda i: torch.tensor([0, 1, 2]))).learn[0]
    assert (first.x.dtype, first.edge_attr.dtype) == (torch.float, torch.long)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (graph(y=None), "its graph has no tensor `y`"),
        (graph(edge_index=None), "its graph has no tensor `edge_index`"),
        (graph(y=torch.tensor([1])), "`y` has no row for each node"),
        (graph(train_mask=torch.arange(5)), "`train_mask` has no row for each node"),
        (graph(y=torch.full((N,), -1)), "none in train and val and test"),
        (graph(y=torch.zeros(N, dtype=torch.long)), "all training rows have class 0"),
        (graph(y=torch.arange(N) % 2 * 2 - 1), "all training rows have class 1, and -1"),
        (TemporalData(src=torch.ones(3), dst=torch.ones(3)), "holds no graphs of nodes"),
    ],
)
def test_one_graph_that_does_not_fit_is_refused_in_a_line(
    read: Read, made: Any, message: str
) -> None:
    with pytest.raises(SystemExit, match=rf"^Odd.*{message}"):
        read(made)


def test_whole_numbers_below_minus_one_are_no_classes(read: Read) -> None:
    assert read(graph(y=torch.arange(N) - 50)).kind == "regression"


# Masks and sizes ----------------------------------------------------------------------------------


def test_classes_outside_all_masks_are_unknown(read: Read) -> None:
    part = torch.arange(N) // 50
    y = torch.where(part == 3, 2, torch.arange(N) % 2)
    for own in ({"val_mask": part == 1}, {}):  # in the second case, validation nodes are drawn
        problem = read(graph(y=y, train_mask=part == 0, test_mask=part == 2, **own))
        assert (problem.kind, problem.outputs) == ("binary", 2)
        assert (problem.learn[0].y[part == 3] == -1).all()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8])
@pytest.mark.parametrize("width", [0, 1, 3])
@pytest.mark.parametrize(
    "own", ["train", "val", "test", "train val", "train test", "val test", "train val test"]
)
def test_masks_that_there_are_stay(own: str, width: int, dtype: torch.dtype) -> None:
    part, given = torch.arange(N) % 5, own.split()
    number = {"train": 0, "val": 1, "test": 2}
    masks = {
        f"{p}_mask": torch.stack([part == (number[p] + k) % 5 for k in range(width)], 1).to(dtype)
        if width
        else (part == number[p]).to(dtype)
        for p in given
    }
    found = [data.split(graph(**masks), seed, 5) for seed in range(2)]
    for split in found:
        every = [split[f"{p}_mask"] for p in data.PARTS]
        assert sum(mask.int() for mask in every).max() == 1
        assert all(mask.any() and mask.dtype == torch.bool for mask in every)
        assert split.test_mask.equal(found[0].test_mask)
        drawn = "train" in given and ("val" not in given or width > 1) and len(given) > 1
        for p in given:
            if p == "test" or not drawn:
                assert split[f"{p}_mask"].equal(part == number[p])


def test_small_sets_keep_validation_nodes(read: Read) -> None:
    y = torch.arange(131) % 4
    made = Data(x=torch.eye(131), y=y, edge_index=torch.randint(131, (2, 500)))
    (learn,) = read(made).learn
    assert int(learn.train_mask.sum()) in range(30, 36)
    assert learn.y[learn.train_mask].unique().numel() == 4
    assert int(learn.val_mask.sum()) > 25


def test_empty_parts_are_refused(read: Read) -> None:
    half = torch.arange(N) < 100
    with pytest.raises(SystemExit, match=r"^Odd: too few rows have labels, none in val"):
        read(graph(train_mask=half, val_mask=half & ~half, test_mask=~half))
    with pytest.raises(SystemExit, match=r"^Odd has 9 graphs: to divide them takes 10"):
        read(*many(9, lambda i: torch.tensor([i % 2])))


def test_a_part_of_one_graph_is_a_batch(read: Read) -> None:
    made = many(7, lambda i: torch.tensor([i % 2]), x=lambda i: torch.ones(3, 2))
    problem = read({"train": made[:5], "val": made[5:6], "test": made[6:]})
    model = models.build("GIN", problem, OPTIONS)
    (batch,) = fit.batched(problem.held["val"], problem)
    assert model(batch).shape == (1, 2)
    assert len(batches.Batches(problem, []).edge_index[0]) == 15


def test_a_score_that_does_not_exist_is_a_failed_run() -> None:
    binary = data.Problem("binary", 2, [], {})
    with pytest.raises(FloatingPointError, match="both values"):
        fit.score(torch.randn(4, 2), torch.tensor([1, 1, -1, 1]), binary)
    several = data.Problem("multilabel", 2, [], {}, per_graph=True)
    with pytest.raises(FloatingPointError, match="both values"):
        fit.score(torch.randn(4, 2), torch.ones(4, 2), several)


# Several node types -------------------------------------------------------------------------------


def test_labels_beside_the_one_node_type(read: Read) -> None:
    """As PyG's Entities has them."""
    made = HeteroData(
        train_idx=torch.arange(40), train_y=torch.arange(40) % 3, test_idx=torch.arange(40, 60),
        test_y=torch.arange(20) % 3,
    )  # fmt: skip
    made["v"].num_nodes = 80
    made["v", "knows", "v"].edge_index = torch.randint(80, (2, 300))
    problem = read(made)
    (learn,) = problem.learn
    assert (problem.outputs, learn.target, int(learn.test_mask.sum())) == (3, "v", 20)
    assert models.build("RGCN", problem, OPTIONS)(learn).shape == (80, 3)


def test_types_without_edges(read: Read) -> None:
    made = typed()
    made["lonely"].x = torch.ones(5, 2)
    problem = read(made)
    assert "lonely" not in problem.learn[0].node_types
    assert models.build("RGCN", problem, OPTIONS)(problem.learn[0]).shape == (N, 4)
    made = HeteroData()
    made["paper"].update({"x": torch.ones(9, 1), "y": torch.arange(9) % 2})
    with pytest.raises(SystemExit, match=r"^Odd has several node types, but no edges"):
        read(made)
    made["author"].num_nodes = 3
    made["author", "knows", "author"].edge_index = torch.tensor([[0, 1], [1, 2]])
    with pytest.raises(
        SystemExit, match=r"^Odd: nodes of the type paper have labels, but no edges"
    ):
        read(made)
