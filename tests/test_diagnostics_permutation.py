"""``permutation_test``: the short ways against the plain one, and what p says."""

import copy
import functools
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from graphkd import diagnostics as D
from tests.oracles.diagnostics import MEASURES, N, every, spaces


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@every
@pytest.mark.parametrize("widths", [(3, 6), (8, 2)])
def test_the_short_way_gives_the_measure_of_shuffled_rows(name: str, widths) -> None:
    measure = MEASURES[name][0]
    # Zeros tie; neighbours are then the first rows, before the shuffle or after it.
    h_s, h_t = spaces(N, *widths, zeros="neighbour" not in name and "second" not in name)
    test = D.permutation_test(measure, h_s, h_t, permutations=12, generator=seeded())
    orders = seeded()
    null = [measure(h_s, h_t[torch.randperm(N, generator=orders)]).item() for _ in range(12)]
    assert_close(test.null, torch.tensor(null, dtype=torch.float64), rtol=1e-10, atol=1e-12)
    value, mean, std, z, p = test
    assert_close(value, measure(h_s, h_t))
    assert_close(mean.item(), np.mean(null))
    assert_close(std.item(), np.std(null, ddof=1))
    assert_close(z.item(), (value.item() - np.mean(null)) / np.std(null, ddof=1))
    assert p.item() == (1 + sum(x >= value.item() for x in null)) / 13
    assert (test.value, test.mean, test.std, test.z, test.p) == tuple(test)


def test_known_measures_are_not_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else this would say so: with the moments at hand, no row is described again."""
    h_s, h_t = spaces()
    calls = []

    def counted(s, t):
        calls.append(1)
        return D.linear_cka(s, t)

    D.permutation_test(counted, h_s, h_t, permutations=7)
    assert len(calls) == 8
    monkeypatch.setattr(D.alignment, "side_moments", lambda *_: calls.append(2) or 1 / 0)
    for measure in (D.linear_cka, functools.partial(D.linear_cka, debiased=True)):
        with pytest.raises(ZeroDivisionError):
            D.permutation_test(measure, h_s, h_t, permutations=7)
    assert calls.count(2) == 2  # for the value itself


def test_any_function_will_do() -> None:
    h_s, h_t = spaces()
    for measure in (
        lambda s, t: (s[:, 0] * t[:, 0]).mean(),
        lambda s, t: float((s[:, 0] * t[:, 0]).mean()),
        functools.partial(lambda c, s, t: (c * s[:, 0] * t[:, 0]).mean(), 1),
    ):
        test = D.permutation_test(measure, h_s, h_t, permutations=50, generator=seeded())
        expected = [(h_s[:, 0] * h_t[torch.randperm(N, generator=g), 0]).mean() for g in
                    [seeded()] for _ in range(50)]  # fmt: skip
        assert_close(test.null, torch.stack(expected))
        assert test.null.dtype == test.value.dtype == torch.float64


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_p_does_not_depend_on_the_units_of_a_measure(scale: float) -> None:
    h_s, h_t = spaces()
    one, other = (
        D.permutation_test(
            lambda s, t, c=c: c * D.linear_cka(s, t), h_s, h_t, permutations=20, generator=seeded()
        )
        for c in (1, scale)
    )
    assert one.p == other.p
    assert_close(one.z, other.z)


def test_an_infinity_gives_no_p() -> None:
    test = D.permutation_test(lambda s, t: torch.inf, *spaces(), permutations=3)
    assert test.value == torch.inf
    assert test.p.isnan()


def test_agreement_by_chance() -> None:
    z = torch.eye(2).repeat_interleave(20, 0)
    test = D.permutation_test(D.agreement, z, z, permutations=400, generator=seeded())
    assert test.value == 1
    assert abs(test.mean - 0.5) < 0.02
    assert test.p.item() == pytest.approx(1 / 401)


@pytest.mark.parametrize("measure", [D.linear_cka, D.global_structure_correlation])
def test_p_is_uniform_for_unrelated_rows(measure) -> None:
    """About a fifth of such pairs get p ≤ 0.2; related ones get the least p there is."""
    ps = []
    for seed in range(100):
        h_s, h_t = torch.randn(2, 15, 8, generator=seeded(seed), dtype=torch.float64)
        ps.append(D.permutation_test(measure, h_s, h_t, permutations=39, generator=seeded(seed)).p)
    assert 8 <= sum(p <= 0.2 for p in ps) <= 34
    assert 35 <= sum(p <= 0.5 for p in ps) <= 65
    test = D.permutation_test(measure, h_s, h_s, permutations=39, generator=seeded())
    assert test.p.item() == pytest.approx(1 / 40)


def test_equal_values_count_as_equal() -> None:
    """Matchings of two clusters of equal rows that swap them whole differ by rounding only."""
    h = torch.randn(2, 7, generator=seeded(), dtype=torch.float64).repeat_interleave(2, 0)
    for shift in (0, 1, 2, 3, 4):
        test = D.permutation_test(
            D.linear_cka, h + shift / 3, h, permutations=300, generator=seeded()
        )
        assert 0.25 < test.p < 0.42  # a third of all matchings


def test_a_null_without_variance() -> None:
    """Rows that are equally far apart fit to all matchings alike, to the rounding."""
    h_t = torch.randn(9, 4, generator=seeded(), dtype=torch.float64)
    apart = torch.linalg.qr(torch.randn(9, 9, generator=seeded(), dtype=torch.float64)).Q
    for h_s in (apart, h_t[:1].expand(9, 4)):
        test = D.permutation_test(D.linear_cka, h_s, h_t, permutations=30)
        assert test.p == 1
        assert test.z.isnan()


def test_one_permutation() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        test = D.permutation_test(D.linear_cka, *spaces(), permutations=1)
    assert test.mean == test.null[0]
    assert test.p == 0.5
    assert test.std.isnan()
    assert test.z.isnan()


def test_smaller_is_more_alike_for_a_disparity() -> None:
    h_s, h_t = spaces()
    test = D.permutation_test(D.procrustes_disparity, h_s, h_t, permutations=99)
    assert test.z < -3
    assert test.p > 0.95


@every
def test_nan_gives_no_p(name: str) -> None:
    h_s, h_t = spaces()
    h_s[4] = torch.nan
    test = D.permutation_test(MEASURES[name][0], h_s, h_t, permutations=3)
    assert all(x.isnan() for x in test)
    assert bool(test.null.isnan().all())


def test_reproducible_and_copied() -> None:
    h_s, h_t = spaces()
    torch.manual_seed(5)
    first = D.permutation_test(D.linear_cka, h_s, h_t, permutations=5)
    torch.manual_seed(5)
    again = D.permutation_test(D.linear_cka, h_s, h_t, permutations=5)
    for other in (again, copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert torch.equal(first.null, other.null)
        assert first == other
    assert repr(first).startswith("PermutationTest(value=")


def test_no_rows_and_one() -> None:
    for n in (0, 1):
        test = D.permutation_test(
            D.global_structure_correlation, torch.rand(n, 3), torch.rand(n, 3)
        )
        assert test.value.isnan()
        assert test.p.isnan()
