"""The refusals of LayerwiseLoss and MultiTeacherLoss."""

import pytest
import torch
from torch import nn

import graphkd.functional as G
from graphkd import (
    AttentionTransferLoss,
    FitNetLoss,
    LayerwiseLoss,
    MultiTeacherLoss,
    RKDLoss,
    SimilarityPreservingLoss,
    SimKDLoss,
)

H_S, H_T = [torch.randn(7, 4), torch.randn(7, 3)], [torch.randn(7, d) for d in (5, 6, 3)]


@pytest.mark.parametrize(
    ("error", "words", "options"),
    [
        (ValueError, "the student has no layer 2; it has 0, 1", {"pairs": [(2, 0)]}),
        (ValueError, "the teacher has no layer -4", {"pairs": [(0, -4)]}),
        (ValueError, "the teacher has no layer 'conv'", {"pairs": [(0, "conv")]}),
        (ValueError, "'uniform' or 'attention'", {"pairs": "all"}),
        (ValueError, "one number per pair of layers; got 1 for 2", {"weights": [1.0]}),
        (ValueError, "weights belong to chosen", {"pairs": "attention", "weights": [1.0] * 6}),
        (ValueError, "plain numbers", {"weights": torch.ones(2)}),
        (ValueError, "reduction must be one of", {"reduction": "avg"}),
        (ValueError, "attention_dim must be at least 1",
         {"pairs": "attention", "attention_dim": 0}),
        (ValueError, "go together", {"dims_s": None}),
        (ValueError, "a factory needs the widths", {"dims_s": None, "dims_t": None}),
        (ValueError, "pairs='attention' needs both",
         {"dims_s": None, "dims_t": None, "pairs": "attention"}),
        (ValueError, "at least one layer", {"dims_s": []}),
        (TypeError, "a list of layers", {"dims_s": 4}),
        (ValueError, r"widths \(4, 0\): FitNetLoss|must be at least 1", {"dims_t": [5, 0, 0]}),
        (TypeError, "a Module, or a factory", {"loss": "fitnet"}),
        (TypeError, r"SimilarityPreservingLoss, which takes .*: too many positional arguments. A "
         r"loss without widths is passed as an instance, SimilarityPreservingLoss\(\)",
         {"loss": SimilarityPreservingLoss}),
        (TypeError, r"RKDLoss, which takes .*: no dim_s. A loss without widths", {"loss": RKDLoss}),
        (TypeError, "missing a required argument: 'classifier'", {"loss": SimKDLoss}),
        (TypeError, "must return a Module", {"loss": lambda s, t: G.fitnet_loss}),
        (ValueError, r"cannot be shared.* FitNetLoss\(\.\.\.\)\.", {"loss": FitNetLoss(4, 5)}),
        (ValueError, "cannot be shared", {"loss": nn.BatchNorm1d(4, affine=False)}),
    ],
)  # fmt: skip
def test_layerwise_at_construction(error: type, words: str, options: dict) -> None:
    arguments = {"loss": FitNetLoss, "dims_s": [4, 3], "dims_t": [5, 6, 3], **options}
    with pytest.raises(error, match=words):
        LayerwiseLoss(**arguments)


def test_layerwise_in_a_call() -> None:
    loss = LayerwiseLoss(FitNetLoss, [4, 3], [5, 6, 3], pairs=[(0, 0), (1, 2)])
    with pytest.raises(ValueError, match=r"h_t must hold the layers that dims_t names, 0, 1, 2"):
        loss(H_S, H_T[:2])
    with pytest.raises(TypeError, match=r"h_s must be a list of layers.*\[h_s\]"):
        loss(H_S[0], H_T)
    with pytest.raises(ValueError, match=r"layers \(1, 2\): FitNetLoss: h_s has width 4"):
        loss([H_S[0], H_S[0]], H_T)
    with pytest.raises(ValueError, match=r"reduction='none' needs row values"):
        LayerwiseLoss(AttentionTransferLoss(), reduction="none")(H_S, H_T)
    attention = LayerwiseLoss(FitNetLoss, [4, 3], [5, 6, 3], pairs="attention")
    with pytest.raises(ValueError, match=r"h_t\[1\] has width 5.*dims_t\[1\]=6"):
        attention(H_S, [H_T[0], H_T[0], H_T[2]])
    with pytest.raises(ValueError, match="one row per node"):
        attention(H_S, [h[:3] for h in H_T])
    with pytest.raises(ValueError, match=r"Call .to\(torch.float64\) on the loss"):
        attention([h.double() for h in H_S], H_T)


def test_the_functions() -> None:
    values = AttentionTransferLoss(reduction="none")
    for weights, words in (
        (torch.ones(7, 3), "one number per pair"),
        (torch.ones(2, 2, 2), "one row per node"),
        (torch.ones(5, 2), "5 rows of weights for 7 nodes"),
        ("ones", "one number per pair"),
    ):
        with pytest.raises(ValueError, match=words):
            G.layerwise_loss(H_S, H_T, values, weights=weights)
    with pytest.raises(ValueError, match="one loss per pair of layers; got 1 for 2"):
        G.layerwise_loss(H_S, H_T, [values])
    with pytest.raises(TypeError, match="a callable"):
        G.multi_teacher_loss(H_S[0], H_T, "kd")
    with pytest.raises(ValueError, match="all return a scalar, or all one value per row"):
        G.multi_teacher_loss(H_S[0], H_T, [values, values, AttentionTransferLoss()])


@pytest.mark.parametrize(
    ("error", "words", "options"),
    [
        (ValueError, "'attention', 'global'", {"weights": "learned"}),
        (ValueError, "entropy must be positive", {"entropy": -1.0}),
        (TypeError, "entropy must be a number", {"entropy": "high"}),
        (ValueError, "these are fixed", {"weights": None, "entropy": 0.1}),
        (ValueError, "one number per teacher; got 2 for 3", {"weights": [0.5, 0.5]}),
        (ValueError, "weights='global' needs both", {"dims_s": None, "dims_t": None,
                                                     "weights": "global"}),
        (TypeError, r"a list of teachers.*\[dims_t\] for a single teacher", {"dims_t": 5}),
        (ValueError, "at least one teacher", {"dims_t": []}),
    ],
)  # fmt: skip
def test_teachers_at_construction(error: type, words: str, options: dict) -> None:
    arguments = {"loss": FitNetLoss, "dims_s": 4, "dims_t": [5, 6, 3], **options}
    with pytest.raises(error, match=words):
        MultiTeacherLoss(**arguments)


def test_teachers_in_a_call() -> None:
    loss = MultiTeacherLoss(FitNetLoss, 4, {"gcn": 5, "gat": 6})
    with pytest.raises(ValueError, match="the teachers that dims_t names, 'gcn', 'gat'; got 'gcn'"):
        loss(H_S[0], {"gcn": H_T[0]})
    for call in (loss, lambda h_s, h_t: G.multi_teacher_loss(h_s, h_t, G.kd_loss)):
        with pytest.raises(
            TypeError, match=r"h_t must be a list of teachers.*for a single teacher"
        ):
            call(H_S[0], H_T[0])
    fixed = MultiTeacherLoss(FitNetLoss, 4, {"gcn": 5, "gat": 6}, weights=None)
    with pytest.raises(ValueError, match="teacher 'gat': FitNetLoss: h_t has width 5"):
        fixed(H_S[0], {"gcn": H_T[0], "gat": H_T[0]})
