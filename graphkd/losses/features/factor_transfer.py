"""The direction of the teacher's factors: factor transfer."""

import copy
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphkd._checks import check_choice, check_count, check_matrix, check_positive, check_width
from graphkd._precision import full_precision, recorded
from graphkd.functional._rows import resolve_index, row_weights, select_rows
from graphkd.functional.features.factor_transfer import (
    check_factor_transfer_options,
    factor_transfer_loss,
)
from graphkd.heads import HeadSpec, head_pair, reset_parameters
from graphkd.losses._base import ProjectedLoss
from graphkd.ops._blocks import slices
from graphkd.teacher import freeze

# The slope of the leaky ReLUs below zero.
_SLOPE = 0.1


class Paraphraser(nn.Module):
    """An autoencoder of the teacher's rows. A call returns the code, the teacher's factors."""

    def __init__(self, dim: int, dim_code: int) -> None:
        super().__init__()
        self.encoder = _translator(dim, dim_code)
        self.decoder = _layers(dim_code, dim_code, dim, dim)

    def forward(self, h: Tensor) -> Tensor:
        """The factors of the teacher's rows."""
        factors: Tensor = self.encoder(h)
        return factors

    def reconstruct(self, h: Tensor) -> Tensor:
        """The teacher's rows, from their factors."""
        rows: Tensor = self.decoder(self.encoder(h))
        return rows


def _translator(dim_in: int, dim_out: int) -> nn.Sequential:
    """Three linear layers, each with a leaky ReLU."""
    return _layers(dim_in, dim_in, dim_out, dim_out)


def _layers(*widths: int) -> nn.Sequential:
    layers = [(nn.Linear(*pair), nn.LeakyReLU(_SLOPE)) for pair in pairwise(widths)]
    return nn.Sequential(*(module for layer in layers for module in layer))


class FactorTransferLoss(ProjectedLoss):
    r"""Factor transfer: the student's translation against the teacher's paraphrase.

    Its translator learns: hand ``loss.parameters()`` to the optimiser with the student's. Its
    paraphraser, an autoencoder of the teacher's rows, learns before that, in :meth:`pretrain`, and
    is then frozen. An untrained one is a random map, and the loss warns of it.

    .. math:: L = \mathrm{mean}_i\, \lVert \hat f^s_i - \hat f^t_i \rVert_p

    with the translator's output for the student's row, the paraphraser's code for the teacher's,
    and a hat for unit length.

    :func:`graphkd.functional.factor_transfer_loss` explains the terms, and names errors and source.
    The Module adds ValueError for wrong widths and for one row with BatchNorm in training mode,
    TypeError for missing edges and where there is no paraphraser to train, and IndexError for an
    edge to a row that does not exist.

    Args:
        dim_s: The student's width.
        dim_t: The teacher's width.
        proj_dim: The width of the factors. Default: half the teacher's.
        p: The norm of the difference: 1 or 2.
        head: ``"factor"``: translator and paraphraser, each of linear layers with leaky ReLUs,
            where the paper has 3 × 3 convolutions; ``"identity"``: the embeddings are factors
            already; or a pair of modules (translator, trained paraphraser): the loss holds a frozen
            copy of the second one.
        head_takes_edges: Whether a pair of modules is called with ``edge_index`` too.
        reduction: As in the function.

    Shapes:
        - **h_s, h_t:** :math:`[N, dim_s]` and :math:`[N, dim_t]`
        - **edge_index:** :math:`[2, E]`, for heads that take edges
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** row numbers, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected row

    Example:
        >>> import torch
        >>> from graphkd import FactorTransferLoss
        >>> h_t = torch.randn(50, 8)
        >>> loss = FactorTransferLoss(4, 8)
        >>> before, after = loss.paraphrase_loss(h_t), loss.pretrain(h_t)
        >>> bool(after < before)
        True
        >>> loss(torch.randn(50, 4), h_t).shape
        torch.Size([])
    """

    p: int
    reduction: str
    _check_options = staticmethod(check_factor_transfer_options)

    def __init__(
        self,
        dim_s: int,
        dim_t: int,
        proj_dim: int | None = None,
        *,
        p: int = 1,
        head: HeadSpec = "factor",
        head_takes_edges: bool = False,
        reduction: str = "mean",
    ) -> None:
        loss = type(self).__name__
        for name, width in {"dim_s": dim_s, "dim_t": dim_t}.items():
            check_count(f"{loss}: {name}", width, least=1)
        proj_dim = max(dim_t // 2, 1) if proj_dim is None else proj_dim
        check_count(f"{loss}: proj_dim", proj_dim, least=1)
        if isinstance(head, str):
            check_choice(f"{loss}: head", head, ("factor", "identity"))
        if head == "factor":
            head = _translator(dim_s, proj_dim), Paraphraser(dim_t, proj_dim).requires_grad_(False)
        elif head != "identity":
            mine, theirs = head_pair(loss, head, dim_s, dim_t, proj_dim)
            head = mine, freeze(copy.deepcopy(theirs))
        super().__init__(dim_s, dim_t, proj_dim, head, head_takes_edges, p=p, reduction=reduction)
        self.pretrained = not isinstance(self.head_t, Paraphraser)
        self._warned = False

    @property
    def paraphraser(self) -> nn.Module:
        """The module that makes the teacher's factors."""
        return self.head_t

    def paraphrase_loss(self, h_t: Tensor, *, index: Tensor | None = None) -> Tensor:
        """Mean squared error of the paraphraser's reconstruction, for a training loop of your own.

        Call ``loss.paraphraser.requires_grad_()`` before that loop, and
        :meth:`freeze_paraphraser` after it.
        """
        loss, paraphraser = type(self).__name__, self._trainable()
        check_matrix(loss, "h_t", h_t)
        check_width(loss, "h_t", h_t, "dim_t", self.dim_t)
        rows = recorded(select_rows(loss, h_t, resolve_index(loss, index, h_t)).detach())
        rows = rows.to(next(paraphraser.parameters()).dtype)
        with full_precision(rows.device):
            total = F.mse_loss(paraphraser.reconstruct(rows), rows, reduction="sum")
            return total / max(rows.numel(), 1)

    def pretrain(
        self,
        h_t: Tensor,
        *,
        epochs: int = 200,
        lr: float = 1e-3,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Train the paraphraser on the teacher's rows by Adam, and freeze it.

        Args:
            h_t: The teacher's rows.
            epochs: How many passes over the rows.
            lr: The step size.
            batch_size: The rows of a step. Default: all.
            generator: Source of the order of the rows, where an epoch has several steps.

        Returns:
            The mean squared error of the reconstruction at the end.
        """
        loss, paraphraser = type(self).__name__, self._trainable()
        check_count(f"{loss}: epochs", epochs, least=1)
        check_positive(f"{loss}: lr", lr)
        check_matrix(loss, "h_t", h_t)
        if batch_size is not None:
            check_count(f"{loss}: batch_size", batch_size, least=1)
        optimizer = torch.optim.Adam(paraphraser.requires_grad_().parameters(), lr=lr)
        try:
            for _ in range(epochs):
                for rows in _batches(h_t, batch_size, generator):
                    optimizer.zero_grad()
                    with torch.inference_mode(False), torch.enable_grad():
                        torch.autograd.backward(self.paraphrase_loss(h_t, index=rows))
                        optimizer.step()
        finally:
            paraphraser.requires_grad_(False)
        self.freeze_paraphraser()
        return self.paraphrase_loss(h_t)

    def freeze_paraphraser(self) -> None:
        """Stop the paraphraser's training, and count it as trained."""
        self.paraphraser.requires_grad_(False)
        for parameter in self.paraphraser.parameters():
            parameter.grad = None
        self.pretrained = True

    def reset_parameters(self) -> None:
        """Draw the parameters of the translator and of the loss's own paraphraser anew."""
        reset_parameters(self.head_s)
        if isinstance(self.head_t, Paraphraser):
            reset_parameters(self.head_t)
            self.pretrained = False

    def get_extra_state(self) -> Tensor:
        """Whether the paraphraser has been trained, for ``state_dict``."""
        return torch.tensor(self.pretrained, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Set whether the paraphraser has been trained, for ``load_state_dict``."""
        self.pretrained = bool(state)

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
        if not (self.pretrained or self._warned or torch.compiler.is_compiling()):
            warnings.warn(
                f"{type(self).__name__}: its paraphraser has not been trained, and the student "
                "learns a random map of the teacher's rows. Call loss.pretrain(h_t) first, or load "
                "a state_dict.",
                stacklevel=2,
            )
            self._warned = True
        s, t, chosen = self.projected(h_s, h_t, edge_index, index)
        weight = row_weights(type(self).__name__, weight, h_s, chosen)
        return factor_transfer_loss(s, t, weight=weight, **self.options)

    def _trainable(self) -> Paraphraser:
        if not isinstance(self.head_t, Paraphraser):
            raise TypeError(
                f"{type(self).__name__}: only the paraphraser of head='factor' is trained here; "
                f"got {type(self.head_t).__name__}. Train your own before you pass it."
            )
        return self.head_t


def _batches(
    h: Tensor, size: int | None, generator: torch.Generator | None
) -> Sequence[Tensor | None]:
    """Row numbers of each step of an epoch; None stands for all rows."""
    if size is None or size >= h.size(0):
        return [None]
    at = h.device if generator is None else generator.device
    order = torch.randperm(h.size(0), generator=generator, device=at).to(h.device)
    return [order[rows] for rows in slices(h.size(0), size)]
