"""The package as a whole: what importing it costs, its public names, its signatures, its log."""

import inspect
import logging
import subprocess
import sys
import warnings

import pytest
import torch

import graphkd
import graphkd.functional as G
from graphkd import ops
from tests.contract import LOSSES, Loss, every

PUBLIC = {
    "ABLoss",
    "AttentionTransferLoss",
    "CKALoss",
    "CRDLoss",
    "CorrelationCongruenceLoss",
    "DISTLoss",
    "DKDLoss",
    "FFG2MLoss",
    "FSPLoss",
    "FactorTransferLoss",
    "FitNetLoss",
    "GCRDLoss",
    "GKDLoss",
    "GlobalLSPLoss",
    "Graph",
    "HeteroLoss",
    "KDLoss",
    "KRDLoss",
    "LLPLoss",
    "LSPLoss",
    "LayerwiseLoss",
    "MuGSILoss",
    "MultiTeacherLoss",
    "NSTLoss",
    "PKTLoss",
    "RKDLoss",
    "SimKDLoss",
    "SimilarityPreservingLoss",
    "TINEDLoss",
    "Tap",
    "TeacherStore",
    "VIDLoss",
    "VQGraphLoss",
    "WeightedSum",
    "__version__",
    "freeze",
    "functional",
    "rows_of",
}
FUNCTIONS = {
    "ab_loss",
    "attention_transfer_loss",
    "cka_loss",
    "correlation_congruence_loss",
    "crd_loss",
    "dist_loss",
    "dkd_loss",
    "factor_transfer_loss",
    "ff_g2m_loss",
    "fitnet_loss",
    "fsp_loss",
    "gcrd_loss",
    "gkd_loss",
    "global_lsp_loss",
    "kd_loss",
    "krd_loss",
    "layerwise_loss",
    "llp_loss",
    "lsp_loss",
    "mugsi_loss",
    "multi_teacher_loss",
    "nst_loss",
    "pkt_loss",
    "rkd_loss",
    "similarity_preserving_loss",
    "simkd_loss",
    "tined_loss",
    "vid_loss",
    "vqgraph_loss",
}


# What has no Module of its own: the teacher's side, and the parts that a Module sums.
FUNCTIONS_ALONE = {
    "dirichlet_energy",
    "fit_reliability_power",
    "high_frequency_loss",
    "link_context",
    "llp_distribution_loss",
    "llp_rank_loss",
    "low_frequency_loss",
    "measure_reliability",
    "precompute_global_lsp",
    "precompute_lsp",
    "random_walks",
    "rkd_angle_loss",
    "rkd_distance_loss",
}


def test_public_names() -> None:
    assert set(graphkd.__all__) == PUBLIC
    assert set(G.__all__) == FUNCTIONS | FUNCTIONS_ALONE
    assert {loss.function.__name__ for loss in LOSSES} == FUNCTIONS
    others = {"Graph", "HeteroLoss", "Tap", "TeacherStore", "WeightedSum"}
    assert {loss.module.__name__ for loss in LOSSES} | others == {
        name for name in PUBLIC if name[0].isupper()
    }


def test_importing_takes_torch_only() -> None:
    code = (
        "import sys, torch; before = set(sys.modules); import graphkd;"
        "new = {m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names);"
        "print(' '.join(sorted(new)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"graphkd", "torch"}
    assert done.stderr == ""


@every()
def test_function_and_module_take_the_same_options(loss: Loss, options: dict) -> None:
    def names(thing) -> dict:
        return dict(inspect.signature(thing).parameters)

    function, built, called = names(loss.function), names(loss.module), names(loss.module.forward)
    called.pop("self")
    # What a Module has beyond the formula: heads with their graph, and a queue with its ids.
    heads = {"dim_s", "dim_t", "proj_dim", "head", "head_takes_edges", "queue_size"}
    graph = {"edge_index", "ids"} if loss.projects and not loss.edges else set()
    own = heads | (graph - set(function)) | loss.module_only
    assert set(function) - loss.function_only == (set(built) | set(called)) - own
    for name, parameter in function.items():
        if name in loss.function_only:
            continue
        other = built.get(name) or called[name]
        assert parameter.default == other.default, name


@pytest.mark.parametrize(
    "thing", [*LOSSES, graphkd.WeightedSum, graphkd.HeteroLoss, graphkd.Graph, graphkd.Tap]
)
def test_docstrings_say_what_is_needed(thing) -> None:
    documented = [thing.module, thing.function] if isinstance(thing, Loss) else [thing]
    for item in documented:
        text = inspect.getdoc(item)
        parts = ["Raises:", "Example:", ">>>"]
        if isinstance(thing, Loss):
            parts += ["Shapes:", "Source:", ".. math::"]
        for part in parts:
            assert part in text, (item, part)


def test_auto_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    ops._log_choice.cache_clear()
    h_s, h_t = torch.randn(2, 9, 4).unbind()
    with caplog.at_level(logging.INFO, logger="graphkd"):
        for _ in range(3):
            G.gcrd_loss(h_s, h_t)
    assert [r.message for r in caplog.records] == [
        "gcrd_loss: backend 'auto' runs 'chunked' on cpu"
    ]


def test_scatter_is_used_or_raises() -> None:
    h_s, h_t, edges = torch.randn(9, 4), torch.randn(9, 5), torch.randint(0, 9, (2, 30))
    try:
        import torch_scatter  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="pip install --no-build-isolation torch-scatter"):
            G.lsp_loss(h_s, h_t, edges, backend="scatter")
    else:
        torch.testing.assert_close(
            G.lsp_loss(h_s, h_t, edges, backend="scatter"), G.lsp_loss(h_s, h_t, edges)
        )


def test_nothing_warns_in_ordinary_use() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for loss in LOSSES:
            h_s, h_t, edge_index = loss.inputs()
            loss.call(h_s, h_t, edge_index).backward()
