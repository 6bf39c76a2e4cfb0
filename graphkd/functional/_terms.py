"""The weights of a loss that is a sum of terms."""

import math
from numbers import Real
from typing import Any

from graphkd._checks import describe


def check_weights(loss: str, **weights: Any) -> None:
    """Raise unless the weights are finite and not negative, and one of them is above zero."""
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, Real):
            raise TypeError(f"{loss}: {name} must be a number; got {describe(weight)}.")
        if not 0 <= float(weight) < math.inf:
            raise ValueError(
                f"{loss}: {name} must be finite and not negative; got {weight!r}. Use 0 to switch "
                "its term off."
            )
    if not any(weights.values()):
        raise ValueError(
            f"{loss}: at least one of {', '.join(weights)} must be above 0; got 0 for all."
        )
