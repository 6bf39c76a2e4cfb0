"""Checks of what losses of logits are handed: probabilities, and several labels in a row."""

from collections.abc import Iterator

from torch import Tensor

from graphkd.diagnostics.doctor.call import Call, named_tensors, side_of, spread
from graphkd.diagnostics.doctor.finding import Finding
from graphkd.losses.logits.dist import DISTLoss
from graphkd.losses.logits.dkd import DKDLoss
from graphkd.losses.logits.kd import KDLoss
from graphkd.losses.neighbours.ff_g2m import FFG2MLoss
from graphkd.losses.neighbours.krd import KRDLoss

# Rows of probabilities sum to 1 within this, also in half precision. So many numbers between 0 and
# 1 are no logits.
NEAR, NUMBERS = 1e-2, 100
_OF_LOGITS = (DISTLoss, DKDLoss, FFG2MLoss, KDLoss, KRDLoss)
_MOST = 2048


class Logits:
    """Looks at the numbers themselves, in every look."""

    def __init__(self) -> None:
        self._probabilities: dict[str, str] = {}
        self._several: tuple[str, float] | None = None

    def see(self, call: Call) -> None:
        """Note arguments that look like probabilities, and labels that no softmax fits."""
        for term in call.parts:
            task = getattr(term.loss, "task", "multiclass")
            if not isinstance(term.loss, _OF_LOGITS) or task == "regression":
                continue
            softmax = task == "multiclass"
            for name, value in term.arguments.items():
                for label, z in named_tensors(name, value):
                    if side_of(name) and _are_probabilities(z, softmax):
                        self._probabilities[label] = term.name
            if softmax and isinstance(call.y, Tensor):
                share = _share_of_several(call.y, term.arguments.get("z_s"))
                if share > 0:
                    self._several = term.name, share

    def findings(self) -> Iterator[Finding]:
        """Both, if they were seen."""
        for label, term in self._probabilities.items():
            yield Finding(
                "probabilities-for-logits",
                f"{label} of {term} looks like probabilities: all its numbers lie in [0, 1]. The "
                "loss takes logits, and its own softmax or sigmoid makes these all but uniform.",
                "Pass the model's output before softmax or sigmoid. Of probabilities p alone, "
                "p.clamp(min=1e-12).log() has the same softmax, and torch.logit(p) the same "
                "sigmoid.",
            )
            break
        if self._several is not None:
            term, share = self._several
            yield Finding(
                "softmax-of-several-labels",
                f"{share:.0%} of the rows of y do not have exactly one label, but {term} compares "
                "the columns of a row by a softmax, as if each had.",
                "Build the loss with task='multilabel'.",
            )


def _are_probabilities(z: Tensor, softmax: bool) -> bool:
    if z.dim() != 2 or not z.is_floating_point() or z.numel() < NUMBERS or z.size(1) < 1 + softmax:
        return False
    some = spread(z.detach(), _MOST).float()
    if not bool(((some >= 0) & (some <= 1)).all()):
        return False
    return not softmax or bool(((some.sum(dim=1) - 1).abs() < NEAR).all())


def _share_of_several(y: Tensor, z_s: object) -> float:
    """The share of labelled rows of zeros and ones that are not one-hot, or known in part only."""
    if not isinstance(z_s, Tensor) or y.dim() != 2 or y.size(1) < 2 or y.size(1) != z_s.size(1):
        return 0.0
    some = spread(y, _MOST).float()
    known = ~some.isnan() & (some != -1)
    if not bool((((some == 0) | (some == 1)) | ~known).all()):
        return 0.0
    labelled = known.any(dim=1)
    one = known.all(dim=1) & (some.sum(dim=1) == 1)
    return float((~one)[labelled].float().mean()) if labelled.any() else 0.0
