"""The teacher's rows as they are, so that its classifier fits the student: SimKD."""

import copy
from typing import Any

from torch import Tensor, nn

from graphkd._checks import check_matrix, check_width, describe
from graphkd._precision import full_precision, upcast
from graphkd.functional._options import check_reduction
from graphkd.functional._rows import resolve_index, row_weights, select_rows
from graphkd.functional.features.simkd import simkd_loss
from graphkd.heads import HeadSpec, project, reset_parameters
from graphkd.losses._base import ProjectedLoss, arguments_of
from graphkd.teacher import freeze


class SimKDLoss(ProjectedLoss):
    r"""SimKD: the student's rows, projected, go through the teacher's own classifier.

    Its head learns: hand ``loss.parameters()`` to the optimiser with the student's. Head and
    classifier belong to the student that ships: :meth:`predict` is its output. The loss holds a
    frozen copy of the classifier, always in eval mode, which its ``state_dict`` contains.

    .. math:: L = \mathrm{mean}_{i,k}\, (p_{ik} - h^t_{ik})^2

    with the student rows p, projected to the teacher's width. The authors' head is a bottleneck of
    three convolutions with BatchNorm and ReLU.

    :func:`graphkd.functional.simkd_loss` explains the terms, and names errors and source. The
    Module adds ValueError for wrong widths (also the classifier's) and for one row with BatchNorm
    in training mode, TypeError for a classifier that is no Module or needs edges that it is not
    given, and for edges that are missing or not taken, and IndexError for an edge to a row that
    does not exist.

    Args:
        dim_s: The student's width.
        dim_t: The teacher's width.
        classifier: The module that makes the teacher's logits from the rows passed as ``h_t``; it
            is copied.
        head: The student's head: ``"linear"``, ``"mlp"``, ``"gcn"`` or ``"identity"``; or a pair of
            modules (student's, teacher's), where the teacher's gets no gradient.
        head_takes_edges: Whether a pair of modules is called with ``edge_index`` too.
        classifier_takes_edges: Whether the classifier is called with ``edge_index`` too, as a graph
            convolution is.
        reduction: As in the function.

    Shapes:
        - **h_s, h_t:** :math:`[N, dim_s]` and :math:`[N, dim_t]`
        - **edge_index:** :math:`[2, E]`, for heads that take edges
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** row numbers, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected row

    Example:
        >>> import torch
        >>> from graphkd import SimKDLoss
        >>> loss = SimKDLoss(2, 2, torch.nn.Linear(2, 3), head="identity")
        >>> loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
        tensor(10.)
        >>> loss.predict(torch.tensor([[2.0, 0.0]])).shape
        torch.Size([1, 3])
    """

    reduction: str
    _check_options = staticmethod(check_reduction)
    student_only = True

    def __init__(
        self,
        dim_s: int,
        dim_t: int,
        classifier: nn.Module,
        *,
        head: HeadSpec = "linear",
        head_takes_edges: bool = False,
        classifier_takes_edges: bool = False,
        reduction: str = "mean",
    ) -> None:
        loss = type(self).__name__
        if not isinstance(classifier, nn.Module):
            raise TypeError(
                f"{loss}: classifier must be the module that makes the teacher's logits; got "
                f"{describe(classifier)}. Pass the teacher's last layer."
            )
        super().__init__(dim_s, dim_t, dim_t, head, head_takes_edges, reduction=reduction)
        _check_classifier(loss, classifier, dim_t, classifier_takes_edges)
        self.classifier = freeze(copy.deepcopy(classifier))
        self.classifier_takes_edges = classifier_takes_edges

    def reset_parameters(self) -> None:
        """Draw new parameters for the student's head; the teacher keeps its own."""
        reset_parameters(self.head_s)

    def train(self, mode: bool = True) -> "SimKDLoss":
        """Switch the training mode of the head; the classifier stays frozen."""
        super().train(mode)
        freeze(self.classifier)  # requires_grad_(True) of what holds it has reached it, too
        return self

    def forward(
        self,
        h_s: Tensor,
        h_t: Tensor,
        edge_index: Any = None,
        *,
        weight: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        s, t, chosen = self.projected(h_s, h_t, edge_index, index)
        weight = row_weights(type(self).__name__, weight, h_s, chosen)
        return simkd_loss(s, t, weight=weight, **self.options)

    def predict(
        self, h_s: Tensor, edge_index: Any = None, *, index: Tensor | None = None
    ) -> Tensor:
        """The student's logits: the teacher's classifier on the projected student rows.

        Call ``eval()`` on the loss before, where its head has BatchNorm or dropout. Gradients flow
        to the student and the head, not to the classifier.

        Args:
            h_s: Student embeddings.
            edge_index: The edges, where the head or the classifier takes them.
            index: Boolean mask or row numbers of the rows to predict; convolutions see all rows.

        Shapes:
            - **h_s:** :math:`[N, dim_s]`
            - **output:** :math:`[M, C]`
        """
        loss = type(self).__name__
        check_matrix(loss, "h_s", h_s)
        check_width(loss, "h_s", h_s, "dim_s", self.dim_s)
        rows = upcast(h_s)
        chosen = resolve_index(loss, index, rows)
        edges = None
        if self.head_takes_edges or self.classifier_takes_edges:
            edges = self._edges(rows, edge_index)
        elif edge_index is not None:
            raise TypeError(
                f"{loss}: neither the head nor the classifier is to take edges; got "
                f"{describe(edge_index)}. Build it with classifier_takes_edges=True, or leave "
                "edge_index out."
            )
        else:
            rows = select_rows(loss, rows, chosen)
        with full_precision(rows.device):
            p = project(loss, self.head_s, rows, edges if self.head_takes_edges else None, "h_s")
            used = edges if self.classifier_takes_edges else None
            z = project(loss, self.classifier, p, used, "projected h_s, the classifier,")
            return z if edges is None else select_rows(loss, z, chosen)


def _check_classifier(loss: str, classifier: nn.Module, dim_t: int, takes_edges: bool) -> None:
    """Raise where the classifier visibly cannot be called on the projected rows."""
    for attribute in ("in_features", "in_channels"):
        width = getattr(classifier, attribute, None)
        # A lazy layer has 0 or -1, a bipartite convolution a pair.
        if isinstance(width, int) and width > 0 and width != dim_t:
            raise ValueError(
                f"{loss}: the classifier must take rows of the width dim_t={dim_t}; got "
                f"{type(classifier).__name__} with {attribute}={width}. Pass the layer that the "
                f"teacher calls on h_t, or dim_t={width}."
            )
    if not takes_edges and "edge_index" in arguments_of(classifier)[1]:
        raise TypeError(
            f"{loss}: the classifier must be called on rows alone unless it is to take edges; got "
            f"{type(classifier).__name__}, which needs edge_index. Build the loss with "
            "classifier_takes_edges=True."
        )
