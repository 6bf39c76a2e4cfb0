"""SimKD's row values in their obvious form: the squared difference of the rows."""

from torch import Tensor


def square_gap(x_s: Tensor, x_t: Tensor) -> Tensor:
    """The mean over the columns of (s_i − t_i)², for every row i."""
    return (x_s - x_t).square().mean(dim=1)
