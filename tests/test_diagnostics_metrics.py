"""The Metrics of ``graphkd.diagnostics``: any batches and ranks give the whole set's value."""

import copy
import io
import pickle
import warnings

import pytest
import torch
from torchmetrics import Metric, MetricCollection

from graphkd import diagnostics as D
from tests.oracles.diagnostics import EDGES, MEASURES, N, spaces
from tests.ranked_diagnostics import METRICS, ROWS, batch, close, whole

every = pytest.mark.parametrize("name", METRICS)
SPLITS = [[N], [1, N - 1], [7] * 5 + [5], [0, 20, 0, 20], [1] * N]


def parts(split: list[int]):
    start = 0
    for size in split:
        yield slice(start, start + size)
        start += size


def test_every_metric_is_tried() -> None:
    metrics = {name for name in D.__all__ if issubclass_of_metric(name)}
    assert {type(build()).__name__ for build in METRICS.values()} == metrics


def issubclass_of_metric(name: str) -> bool:
    thing = getattr(D, name)
    return isinstance(thing, type) and issubclass(thing, Metric)


@every
@pytest.mark.parametrize("split", SPLITS, ids=lambda split: f"{len(split)} batches")
@pytest.mark.parametrize("call", ["update", "forward"])
def test_any_split_into_batches(name: str, split: list[int], call: str) -> None:
    _, expected = whole(name)
    metric = METRICS[name]()
    for rows in parts(split):
        (metric if call == "forward" else metric.update)(*batch(name, rows))
    close(metric.compute(), expected)
    metric.reset()
    metric.update(*batch(name, slice(0, N)))
    close(metric.compute(), expected)


@every
def test_batches_of_growing_rows(name: str) -> None:
    """What is kept of the first batches is scaled down when larger rows come."""
    metric = METRICS[name]()
    (h_s, h_t, *more), _ = whole(name)
    growth = torch.logspace(-3, 4, N, dtype=torch.float64)[:, None]
    h_s, h_t = h_s * growth, h_t * growth**1.5
    for rows in parts([13, 20, 7]):
        first, last, *_ = rows.start, rows.stop
        if more:
            edges = EDGES[:, (EDGES[1] >= first) & (EDGES[1] < last)]
            metric.update(h_s, h_t, edges)
        else:
            metric.update(h_s[rows], h_t[rows])
    measure = D.agreement if name == "agreement" else MEASURES[name][0]
    close(metric.compute(), measure(h_s, h_t))


@every
def test_forward_gives_the_value_of_the_batch(name: str) -> None:
    metric, rows = METRICS[name](), slice(5, 25)
    metric.update(*batch(name, slice(0, 5)))
    alone = METRICS[name]()
    alone.update(*batch(name, rows))
    close(metric(*batch(name, rows)), alone.compute())
    metric(*batch(name, slice(25, N)))
    close(metric.compute(), whole(name)[1])


@every
def test_moments_of_many_batches_take_the_room_of_one(name: str) -> None:
    metric = METRICS[name]()
    for _ in range(3):
        metric(*batch(name, slice(0, 20)))
        metric.update(*batch(name, slice(20, N)))
        metric(*batch(name, slice(0, 20)))
    if hasattr(metric, "moments"):
        assert len(metric.moments) == 1
    other = METRICS[name]()
    other.merge_state(METRICS[name]())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert other.compute().isnan()
    other.update(*batch(name, slice(0, N)))
    close(other.compute(), whole(name)[1])


@every
def test_merged_copied_moved_and_saved(name: str) -> None:
    metric, other = METRICS[name](), METRICS[name]()
    metric.update(*batch(name, slice(0, 13)))
    other.update(*batch(name, slice(13, N)))
    expected = whole(name)[1]
    metric.merge_state(other)
    close(metric.compute(), expected)
    close(copy.deepcopy(metric).compute(), expected)
    close(pickle.loads(pickle.dumps(metric)).compute(), expected)
    close(metric.to("cpu").compute(), expected)
    saved = METRICS[name]()
    metric.persistent(True)
    file = io.BytesIO()
    torch.save(metric.state_dict(), file)
    file.seek(0)
    saved.persistent(True)
    saved.load_state_dict(torch.load(file))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it was not updated, but loaded
        close(saved.compute(), expected)


@every
@pytest.mark.parametrize(
    "convert",
    [
        lambda m: m.set_dtype(torch.float16),
        lambda m: torch.nn.ModuleList([m]).half()[0],
        lambda m: torch.nn.ModuleList([m]).to(torch.bfloat16)[0],
        lambda m: m.to(torch.float32),
        lambda m: m.float(),
    ],
)
def test_conversions_of_the_model_leave_it_alone(name: str, convert) -> None:
    metric = METRICS[name]()
    metric.update(*batch(name, slice(0, 13)))
    metric = convert(metric)
    metric.update(*batch(name, slice(13, N)))
    close(metric.compute(), whole(name)[1])


def test_in_a_collection() -> None:
    names = METRICS.keys() - {"local_structure_correlation", "agreement"}
    metrics = MetricCollection({name: METRICS[name]() for name in names})
    for rows in parts([13, 20, 7]):
        h_s, h_t = batch("linear_cka", rows)
        metrics.update(h_s, h_t, ids=ROWS[rows])
    for name, value in metrics.compute().items():
        close(value, whole(name)[1])


@pytest.mark.parametrize("name", ["neighbour_overlap", "second_order_cosine"])
def test_a_row_seen_twice_counts_once(name: str) -> None:
    """By id, in whatever order; without ids each row is a node of its own."""
    (h_s, h_t), expected = whole(name)
    metric, plain = METRICS[name](), METRICS[name]()
    for rows in torch.randperm(N).split(9):
        rows = torch.cat([rows, rows[:3]])
        metric.update(h_s[rows], h_t[rows], rows.int())
        plain.update(h_s[rows], h_t[rows])
    metric.update(h_s[:9] + 1, h_t[:9], ROWS[:9])  # the first counts
    close(metric.compute(), expected)
    assert plain.compute() != expected


@pytest.mark.parametrize("name", ["neighbour_overlap", "second_order_cosine"])
def test_too_few_nodes_for_k(name: str) -> None:
    """The last batch may be as small; its own value is NaN."""
    metric = METRICS[name]()
    assert metric(*batch(name, slice(0, 5))).isnan()
    metric(*batch(name, slice(5, N)))
    close(metric.compute(), whole(name)[1])


@every
def test_nothing_seen(name: str) -> None:
    metric = METRICS[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert metric.compute().isnan()
    metric.update(*batch(name, slice(0, 0)))
    assert metric.compute().isnan()


@every
def test_rows_may_be_written_over(name: str) -> None:
    """And need no gradient, nor get one; halves and inference tensors are taken."""
    metric = METRICS[name]()
    for rows in parts([13, N - 13]):
        args = [x.clone() for x in batch(name, rows)]
        if rows.start == 0:
            args[:2] = [x.requires_grad_() for x in args[:2]]
            metric.update(*args)
        else:
            with torch.inference_mode():
                args = [x.clone() for x in args]
                metric.update(*args)
        for x in args:
            x.data.zero_()
    value = metric.compute()
    close(value, whole(name)[1])
    assert not value.requires_grad


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: D.LinearCKA(debiased=None), ValueError, "LinearCKA: debiased must be True or"),
        (lambda: D.NeighbourOverlap(k=0), ValueError, "NeighbourOverlap: k must be at least 1"),
        (lambda: twice(D.LinearCKA(), 3, 4), ValueError, "got 3 and 4 after 3 and 6. Call .reset"),
        (lambda: twice(D.SecondOrderCosine(), 4, 6), ValueError, "got 4 and 6 after 3 and 6"),
        (lambda: D.ProcrustesDisparity().update(ROWS, ROWS), TypeError, "ProcrustesDisparity: h_s"),
        (lambda: D.Agreement().update(*spaces()), ValueError, "Agreement: z_s and z_t"),
        (lambda: D.NeighbourOverlap().update(*spaces(), ROWS[:3]), ValueError, "ids must have one"),
        (lambda: D.NeighbourOverlap().update(*spaces(), ROWS - 1), ValueError, "not be negative"),
        (lambda: D.NeighbourOverlap().update(*spaces(), ROWS > 1), TypeError, "ids must be an int"),
        (lambda: D.LocalStructureCorrelation().update(*spaces(), EDGES + N), IndexError, "names"),
    ],
)  # fmt: skip
def test_refusals(call, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def twice(metric: Metric, d_s: int, d_t: int) -> None:
    for widths in ((3, 6), (d_s, d_t)):
        metric.update(*spaces(N, *widths))
