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

    Where weights or heads learn, hand ``loss.parameters()`` to the optimiser.

    .. math::
        L = \frac1N \sum_i \Bigl( \sum_k w_{ik} \, \ell_i\bigl(h^s, h^{t,k}\bigr)
            + \lambda \sum_k w_{ik} \log (K w_{ik}) \Bigr)

    ``weights="attention"``: :math:`w_{ik} = \mathrm{softmax}_k \cos(q(h^s_i), k^k(h^{t,k}_i))`,
    for each node, with small MLPs q and k that learn. ``weights="global"``: a softmax of one
    learned number per teacher. Numbers: fixed. None: the mean.

    Weights that learn by the loss alone favour the teacher that is easiest to imitate, not the one
    that is right. Attention cannot drop a teacher, as its cosines bound the ratio of two weights by
    e². Global weights can, and do for ``entropy=0``: λ = ``entropy``, of the size of the
    differences between the losses, keeps the others.

    Args:
        loss: A factory ``loss(dim_s, dim_t)``, called once for each teacher, such as a loss's
            class; it is not kept. Or one Module for all teachers, which then has no parameters.
            Weights by node need ``reduction="none"`` of it; a scalar loss gets their mean.
        dims_s: The student's width.
        dims_t: The teachers' widths, as a list or by name. Both are needed but for fixed weights
            and one Module.
        weights: ``"attention"``, ``"global"``, one number per teacher, or None for the mean.
        entropy: λ, for weights that learn.
        attention_dim: The width of queries and keys.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, of the row values that an inner loss with
            ``reduction="none"`` returns. A scalar stays as it is.

    Shapes:
        - **h_s:** :math:`[N, d_s]`, or ``z_s`` where the inner loss compares logits
        - **h_t:** each :math:`[N, d_k]`, or ``z_t``
        - **index:** :math:`[M]`, or a mask :math:`[N]`, for an inner loss that takes it
        - **output:** scalar, or one value per row for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, widths are missing, a Module with parameters is to
            be shared, or teachers do not fit; and whatever the inner losses raise, which then names
            the teacher.
        TypeError: If ``loss`` is no Module and no factory, or an argument is unknown or missing.
        IndexError: If ``index`` names a row that does not exist.

    Source: Zhang et al., Multi-Scale Distillation from Multiple Graph Neural Networks, AAAI 2022:
    several teachers of different depth, weighed by an attention mechanism. Their released code
    trains with one teacher after the other, weighed by numbers that it computes once from logits;
    the documentation reproduces it. The attention is that of :class:`LayerwiseLoss`.

    Example:
        >>> import torch
        >>> from graphkd import KDLoss, MultiTeacherLoss
        >>> loss = MultiTeacherLoss(KDLoss(reduction="none"), 2, [2, 2], weights="global")
        >>> z_s, teachers = torch.zeros(1, 2), [torch.zeros(1, 2), torch.tensor([[4.0, 0.0]])]
        >>> loss(z_s, teachers).detach()    # starts with equal weights
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
        index: Tensor | None = None,
        **arguments: Any,
    ) -> Tensor:
        """The loss of a student against its teachers."""
        name = type(self).__name__
        # Losses of logits name them z_s and z_t, and so does a WeightedSum.
        student, teacher = self.sides
        h_s, h_t = arguments.pop(student, h_s), arguments.pop(teacher, h_t)
        self.check_arguments(arguments if index is None else {**arguments, "index": index})
        teachers = matched(name, "h_t", h_t, self.teachers, "teacher")
        options = self.options
        if self.attention is not None:
            index, alpha = self.attention([h_s], [*teachers.values()], index)
            options["weights"] = alpha.squeeze(1)
        elif self.scores is not None:
            options["weights"] = upcast(self.scores).softmax(dim=0)
        return multi_teacher_loss(h_s, teachers, self.inner, index=index, **options, **arguments)
