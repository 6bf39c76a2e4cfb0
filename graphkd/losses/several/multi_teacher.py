"""One loss against several teachers, weighed by attention, by learned numbers or by fixed ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from graphkd._checks import check_choice
from graphkd._precision import upcast
from graphkd.functional._options import check_reduction
from graphkd.functional.several.layerwise import Layers
from graphkd.functional.several.multi_teacher import check_entropy, multi_teacher_loss
from graphkd.losses.several._inner import (
    CrossAttention,
    OuterLoss,
    both_widths,
    fixed_weights,
    matched,
)


class MultiTeacherLoss(OuterLoss):
    r"""One loss of a student against several teachers, with weights that learn.

    If weights or heads learn, hand ``loss.parameters()`` to the optimiser.

    .. math:: L = \frac1N \sum_{i,k} w_{ik} \bigl(\ell_{ik} + \lambda \log K w_{ik}\bigr)

    ``weights="attention"``: :math:`w_{ik} = \mathrm{softmax}_k \cos(q(h^s_i), k^k(h^{t,k}_i))`,
    for each node, with small MLPs q and k that learn. ``weights="global"``: a softmax of one
    learned number per teacher. Numbers: fixed. None: the mean.

    Weights that learn by the loss alone favour the teacher that is easiest to imitate, not the one
    that is right. Attention cannot drop a teacher, because its cosines bound the ratio of two
    weights by e². Global weights can, and do for ``entropy=0``. A λ (``entropy``) as large as the
    differences between the losses keeps the other teachers.

    A Module with parameters cannot be shared by several teachers.
    :func:`graphkd.functional.multi_teacher_loss` says what else is raised, and what the source is.
    The attention is that of :class:`LayerwiseLoss`; the authors of MSKD train with one teacher
    after the other, and the documentation reproduces that.

    Args:
        loss: A factory ``loss(dim_s, dim_t)``, called once for each teacher, such as a loss's
            class; it is not kept. Or one Module for all teachers, which then has no parameters.
            Weights by node need ``reduction="none"`` of it; a scalar loss gets their mean.
        dims_s: The student's width.
        dims_t: The teachers' widths, as a list or by name. Only fixed weights with one Module need
            neither.
        weights: ``"attention"``, ``"global"``, one number per teacher, or None for the mean.
        entropy: λ, for weights that learn.
        attention_dim: The width of queries and keys.
        reduction: Of the row values of an inner loss that is built with ``reduction="none"``.

    Shapes:
        - **h_s:** :math:`[N, d_s]`; ``z_s`` if the inner loss compares logits
        - **h_t:** a list or dictionary of :math:`[N, d_k]`; ``z_t`` likewise
        - **weight:** a weight for each node, :math:`[N]`, if the inner loss takes it
        - **index:** :math:`[M]`, or a mask :math:`[N]`, if the inner loss takes it
        - **output:** a scalar, or a value for each row

    Example:
        >>> import torch
        >>> from graphkd import KDLoss, MultiTeacherLoss
        >>> loss = MultiTeacherLoss(KDLoss(reduction="none"), 2, [2, 2], weights="global")
        >>> loss(torch.zeros(1, 2), [torch.zeros(1, 2), torch.tensor([[4.0, 0.0]])]).detach()
        tensor(0.8876)
    """

    def __init__(
        self,
        loss: Callable[[Any, Any], nn.Module] | nn.Module,
        dims_s: int | None = None,
        dims_t: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        weights: str | Sequence[float] | None = "attention",
        entropy: float = 0.0,
        attention_dim: int = 32,
        reduction: str = "mean",
    ) -> None:
        name = type(self).__name__
        check_reduction(name, reduction)
        learned = isinstance(weights, str)
        if learned:
            check_choice(f"{name}: weights, if no numbers,", weights, ("attention", "global"))
        check_entropy(name, entropy, learned=learned)
        dims = None if dims_s is None else [dims_s]
        need = f"weights={weights!r}" * learned
        widths = both_widths(name, dims, dims_t, needed_for=need, what="teacher")
        teachers = None if widths is None else widths[1]
        count = None if teachers is None else len(teachers)
        fixed = None if learned else fixed_weights(name, weights, count, "teacher")
        built_for = None if teachers is None else [(dims_s, dim) for dim in teachers.values()]
        super().__init__(
            loss,
            built_for,
            count,
            weights=weights if learned else fixed,
            entropy=entropy,
            reduction=reduction,
        )
        self.teachers = None if teachers is None else tuple(teachers)
        self.attention, self.scores = None, None
        if weights == "attention" and widths is not None:
            keys = list(widths[1].values())
            self.attention = CrossAttention(name, [widths[0][0]], keys, attention_dim)
        elif weights == "global" and teachers is not None:
            self.scores = nn.Parameter(torch.zeros(len(teachers)))

    def reset_parameters(self) -> None:
        """Draw the parameters of all losses and of the attention anew, and make weights equal."""
        super().reset_parameters()
        if self.scores is not None:
            nn.init.zeros_(self.scores)

    def names_of_arguments(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names that a call takes and needs, which depend on the inner loss."""
        return (*self.sides, *self.takes), (*self.sides, *self.needs)

    def forward(
        self,
        h_s: Any = None,
        h_t: Layers | None = None,
        *,
        weight: Tensor | None = None,
        index: Tensor | None = None,
        **arguments: Any,
    ) -> Tensor:
        """The loss of a student against its teachers."""
        name = type(self).__name__
        # Losses of logits name them z_s and z_t, and so does a WeightedSum.
        student, teacher = self.sides
        h_s, h_t = arguments.pop(student, h_s), arguments.pop(teacher, h_t)
        self.check_arguments(arguments, weight=weight, index=index)
        teachers = matched(name, "h_t", h_t, self.teachers, "teacher")
        options = {**self.options, "weight": weight}
        if self.attention is not None:
            index, alpha = self.attention([h_s], [*teachers.values()], index)
            options["weights"] = alpha.squeeze(1)
        elif self.scores is not None:
            options["weights"] = upcast(self.scores).softmax(dim=0)
        return multi_teacher_loss(h_s, teachers, self.inner, index=index, **options, **arguments)
