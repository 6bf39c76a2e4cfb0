"""The pictures of ``graphkd.diagnostics``: where and what they draw, and what they refuse."""

import math
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import graphkd

mpl = pytest.importorskip("matplotlib")
mpl.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from graphkd import diagnostics as D  # noqa: E402
from tests.plotted import EDGES, H_S, H_T, Z_S, Z_T, Y, rows  # noqa: E402

TEST = D.permutation_test(
    D.linear_cka, H_S, H_T, permutations=60, generator=torch.Generator().manual_seed(0)
)


def gap(h_s: Tensor, h_t: Tensor) -> float:
    """A measure whose value tells which layers it was given."""
    return float(h_s.mean() - h_t.mean())


CALLS = {
    "plot_layers": partial(D.plot_layers, gap, {"a": H_S, "b": H_T}, {"c": H_T}),
    "plot_preservation": partial(D.plot_preservation, {"KD": [0.1, 0.3]}, {"KD": [0.2, 0.4]}),
    "plot_null": partial(D.plot_null, TEST),
    "plot_embeddings": partial(D.plot_embeddings, H_S, H_T, Y),
    "plot_agreement": partial(D.plot_agreement, Z_S, Z_T, EDGES, Y),
}
TWO = {"plot_embeddings", "plot_agreement"}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No picture is shown, changes matplotlib's settings, or stays open unseen."""
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a picture was shown"))
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    plt.close("all")


def panels(result: object) -> list:
    return list(result) if isinstance(result, tuple) else [result]


def test_every_picture_is_tried() -> None:
    assert set(CALLS) == {name for name in D.__all__ if name.startswith("plot_")}


@pytest.mark.parametrize("name", CALLS)
def test_makes_one_figure_or_draws_on_the_given_axes(name: str, tmp_path) -> None:
    drawn = panels(CALLS[name]())
    assert len(plt.get_fignums()) == 1
    assert {ax.figure for ax in drawn} == {plt.figure(plt.get_fignums()[0])}
    drawn[0].figure.savefig(tmp_path / "new.png")
    plt.close("all")
    # Without pyplot, which would keep the figure.
    own = Figure().subplots(1, 2)
    given = {"axes": own} if name in TWO else {"ax": own[1]}
    assert panels(CALLS[name](**given)) == (list(own) if name in TWO else [own[1]])
    assert not plt.get_fignums()
    own[0].figure.savefig(tmp_path / "own.svg")


@pytest.mark.parametrize("name", CALLS)
def test_refuses_what_are_no_axes(name: str) -> None:
    keyword = "axes" if name in TWO else "ax"
    for wrong in (Figure(), Figure().subplots(1, 3), "axes"):
        with pytest.raises(TypeError, match=f"{name}: {keyword} must be .*; got .* Leave it out"):
            CALLS[name](**{keyword: wrong})
    assert not plt.get_fignums()


@pytest.mark.parametrize("name", CALLS)
def test_a_missing_matplotlib_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [m for m in sys.modules if m.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{name} needs matplotlib.*pip install 'graphkd\[met"):
        CALLS[name]()


def test_draws_without_a_display_and_imports_matplotlib_when_it_draws(tmp_path) -> None:
    code = f"""
import sys, torch
from graphkd.diagnostics import plot_embeddings
assert "matplotlib" not in sys.modules
h = torch.randn(9, 3)
plot_embeddings(h, h)[0].figure.savefig({str(tmp_path / "x.png")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"HOME": str(tmp_path)})
    assert (tmp_path / "x.png").stat().st_size > 1000


# Layers ---------------------------------------------------------------------------------------


def test_layers_of_taps_and_tensors() -> None:
    student = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 2))
    (x,) = rows(6)
    taps = [graphkd.Tap(student, name) for name in ("0", "1", "2")]
    student(x)  # in training mode, with gradients
    kept = [tap.value.detach() for tap in taps]
    teacher = {"first": H_S, "last": H_T}
    expected = [[gap(h_s, h_t) for h_t in teacher.values()] for h_s in kept]
    for rows_of_student in (taps, {f"layer {k}": tap for k, tap in enumerate(taps)}):
        ax = D.plot_layers(gap, rows_of_student, teacher, ax=Figure().subplots())
        assert_close(torch.tensor(ax.images[0].get_array().tolist()), torch.tensor(expected))
        shown = [text.get_text() for text in ax.texts]
        assert shown == [f"{value:.2f}" for line in expected for value in line]
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["first", "last"]
        assert ax.get_title() == "gap"
        names = [tick.get_text() for tick in ax.get_yticklabels()]
        assert names == (["0", "1", "2"] if rows_of_student is taps else [*rows_of_student])


def test_layers_take_any_measure_and_a_tap_under_no_grad(recwarn) -> None:
    student = nn.Sequential(nn.Linear(6, 3), nn.ReLU())
    taps = [graphkd.Tap(student, "0"), graphkd.Tap(student, "1")]
    with torch.no_grad():
        student(rows(6)[0])
    local = partial(D.local_structure_correlation, edge_index=EDGES)
    ax = D.plot_layers(local, taps, {"t": H_T}, ax=Figure().subplots())
    found = ax.images[0].get_array()[1, 0]
    with torch.no_grad():
        expected = float(local(taps[1].value, H_T))
    assert_close(float(found), expected)
    assert ax.get_title() == "local_structure_correlation"
    assert not [w for w in recwarn if "Tap" in str(w.message)]
    assert D.plot_layers(lambda s, t: math.nan, taps, taps, ax=Figure().subplots()).texts


def test_many_layers_have_no_numbers() -> None:
    many = {f"layer {k}": H_S for k in range(11)}
    assert not D.plot_layers(gap, {"x": H_S}, many, ax=Figure().subplots()).texts


# Preservation ---------------------------------------------------------------------------------


def test_preservation_has_means_and_deviations() -> None:
    local = {"KD": [0.1, 0.2, 0.6], "G-CRD": torch.tensor([0.5, 0.6, 0.7])}
    whole = {"G-CRD": (torch.tensor(0.9), 0.8, 0.7), "KD": [0.3, 0.3, 0.3]}
    ax = D.plot_preservation(local, whole, ax=Figure().subplots())
    points = {c.get_label(): c for c in ax.containers}
    assert [*points] == ["KD", "G-CRD"]
    for name, container in points.items():
        x, y = (torch.tensor([float(v) for v in side[name]]) for side in (whole, local))
        marker, _, bars = container
        assert_close(
            torch.tensor(marker.get_xydata()[0]).float(), torch.stack([x.mean(), y.mean()])
        )
        for bar, axis, values in ((bars[0], 0, x), (bars[1], 1, y)):
            start, end = (float(p[axis]) for p in bar.get_segments()[0])
            assert_close(end - start, float(2 * values.std()), atol=1e-6, rtol=1e-5)


def test_preservation_of_one_run_has_no_bars() -> None:
    ax = D.plot_preservation({"KD": 0.5}, {"KD": torch.tensor(0.25)}, ax=Figure().subplots())
    marker, _, bars = ax.containers[0]
    assert marker.get_xydata().tolist() == [[0.25, 0.5]]
    assert not bars


def test_many_methods_look_different() -> None:
    scores = {f"method {k}": 0.5 for k in range(40)}
    ax = D.plot_preservation(scores, scores, ax=Figure().subplots())
    styles = {(c[0].get_color(), c[0].get_marker()) for c in ax.containers}
    assert len(styles) == 40


# Null -----------------------------------------------------------------------------------------


def test_null_counts_every_matching_and_marks_the_score() -> None:
    ax = D.plot_null(TEST, ax=Figure().subplots())
    null = sorted(TEST.null.tolist())
    assert len(null) == 60
    for k, bar in enumerate(ax.patches):
        left, right = bar.get_x(), bar.get_x() + bar.get_width()
        last = k == len(ax.patches) - 1
        inside = sum(left - 1e-12 <= value < right - 1e-12 or (last and value >= right - 1e-12)
                     for value in null)  # fmt: skip
        assert bar.get_height() == inside
    assert sum(bar.get_height() for bar in ax.patches) == 60
    (line,) = ax.lines
    assert line.get_xdata() == [float(TEST.value)] * 2
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert any(f"z = {float(TEST.z):,.1f}" in text for text in texts)


# Refusals -----------------------------------------------------------------------------------


def unknown() -> D.PermutationTest:
    return D.permutation_test(D.linear_cka, H_S / 0, H_T, permutations=3)


LAYERS, PRESERVE, EMBED, AGREE = (
    D.plot_layers, D.plot_preservation, D.plot_embeddings, D.plot_agreement
)  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: LAYERS("cka", [], []), TypeError, "measure must be a function .*; got 'cka"),
        (lambda: LAYERS(gap, H_S, [H_T]), TypeError, "student must be a dictionary .*; got"),
        (lambda: LAYERS(gap, {"a": H_S}, [H_T]), TypeError, "teacher must be .*list of Taps"),
        (lambda: LAYERS(gap, {}, {"a": H_T}), ValueError, "at least one layer.*got 0"),
        (lambda: LAYERS(gap, {"a": H_S[0]}, {"b": H_T}), ValueError, r"student\['a'\] must"),
        (lambda: LAYERS(gap, {"a": (H_S,)}, {"b": H_T}), TypeError, r"student\['a'\] must"),
        (lambda: LAYERS(gap, {"a": H_S[1:]}, {"b": H_T}), ValueError, r"teacher\['b'\] must"),
        (lambda: PRESERVE([0.1], {}), TypeError, "local must be a dictionary .*; got lis"),
        (lambda: PRESERVE({}, {}), ValueError, "at least one; got no method"),
        (lambda: PRESERVE({"a": 1.0}, {"b": 1.0}), ValueError, "only one of them has 'a'"),
        (lambda: PRESERVE({"a": []}, {"a": []}), ValueError, "got 0 and 0"),
        (lambda: PRESERVE({"a": [1.0]}, {"a": [1.0, 2.0]}), ValueError, "got 1 and 2"),
        (lambda: PRESERVE({"a": "x"}, {"a": 1.0}), TypeError, r"local\['a'\] must be a n"),
        (lambda: PRESERVE({"a": 1.0}, {"a": None}), TypeError, r"global_\['a'\] must be"),
        (lambda: D.plot_null(0.7), TypeError, "must be the result of permutation_test; got 0.7"),
        (lambda: D.plot_null(unknown()), ValueError, "scores must be finite.*; got 4 of 4"),
        (lambda: EMBED(H_S, H_T[1:]), ValueError, "plot_embeddings: h_s and h_t must"),
        (lambda: EMBED(H_S.long(), H_T), TypeError, "plot_embeddings: h_s must hold"),
        (lambda: EMBED(H_S / 0, H_T), ValueError, "h_s must be finite.*in 40 of 40"),
        (lambda: EMBED(H_S, H_T, Y[1:]), ValueError, "y must have one entry per row"),
        (lambda: EMBED(H_S, H_T, H_T[:, 0]), TypeError, "y must be an int64"),
        (lambda: AGREE(Z_S, H_T, EDGES), ValueError, "must predict the same classes"),
        (lambda: AGREE(Z_S, Z_T, EDGES + 9), IndexError, "names"),
        (lambda: AGREE(Z_S, Z_T, None), TypeError, "plot_agreement needs a graph"),
        (lambda: AGREE(Z_S, Z_T, EDGES, Y.float()), TypeError, "y must be an int64"),
        (lambda: AGREE(Z_S, Z_T, EDGES, index=Y + 40), IndexError, "index names row"),
    ],
)  # fmt: skip
def test_refusals(call, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
    assert not plt.get_fignums()
