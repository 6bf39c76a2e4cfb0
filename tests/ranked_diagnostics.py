"""Cases: the Metrics of ``graphkd.diagnostics`` over ranks; how tests build and feed them."""

import warnings

import pytest
import torch
from torch.testing import assert_close

from graphkd import diagnostics as D
from tests.oracles.diagnostics import EDGES, MEASURES, N, spaces
from tests.ranks import Part, case

ROWS = torch.arange(N)
# Each Metric: how it is built, and the measure that it streams.
METRICS = {
    "linear_cka": lambda **o: D.LinearCKA(**o),
    "debiased": lambda **o: D.LinearCKA(debiased=True, **o),
    "procrustes_disparity": lambda **o: D.ProcrustesDisparity(**o),
    "global_structure_correlation": lambda **o: D.GlobalStructureCorrelation(**o),
    "local_structure_correlation": lambda **o: D.LocalStructureCorrelation(**o),
    "neighbour_overlap": lambda **o: D.NeighbourOverlap(k=5, **o),
    "second_order_cosine": lambda **o: D.SecondOrderCosine(5, **o),
    "agreement": lambda **o: D.Agreement(**o),
}


def whole(name: str):
    """The arguments for all rows, and the value of the function."""
    h_s, h_t = spaces()
    if name == "agreement":
        h_s = h_t[:, [1, 0, 2, 3, 4, 5]]
        return (h_s, h_t), D.agreement(h_s, h_t)
    more = (EDGES,) if name == "local_structure_correlation" else ()
    return (h_s, h_t, *more), MEASURES[name][0](h_s, h_t)


def batch(name: str, rows: slice):
    """The arguments for a part of the rows: of edges, for those that end there."""
    (h_s, h_t, *more), _ = whole(name)
    if more:
        first, last, _ = rows.indices(N)
        edges = EDGES[:, (EDGES[1] >= first) & (EDGES[1] < last)]
        return h_s, h_t, edges
    ids = (ROWS[rows],) if "neighbour" in name or "second" in name else ()
    return h_s[rows], h_t[rows], *ids


def close(found, expected) -> None:
    assert found.dtype == torch.float64
    assert_close(found, expected, rtol=1e-12, atol=1e-12)


@case
def diagnostics(part: Part) -> None:
    """Uneven and empty ranks, in one batch or several, at the end and in each step."""
    _, *layouts = part.layouts(N)
    for layout in layouts:
        mine = part.rows(layout)
        for name, build in METRICS.items():
            metric = build(process_group=part.group)
            middle = (mine.start + mine.stop) // 2
            for rows in (slice(mine.start, middle), slice(middle, mine.stop)):
                if rows.stop > rows.start:
                    metric.update(*batch(name, rows))
            _, expected = whole(name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a rank without rows has no update
                close(metric.compute(), expected)
            every_step = build(process_group=part.group, dist_sync_on_step=True)
            close(every_step(*batch(name, mine)), expected)
            close(every_step.compute(), expected)


@case
def diagnostics_of_other_widths(part: Part) -> None:
    metric = D.LinearCKA(process_group=part.group)
    metric.update(*spaces(N, 3, 6 + part.rank))
    with pytest.raises(ValueError, match="the rows of all ranks must have the same widths"):
        metric.compute()
