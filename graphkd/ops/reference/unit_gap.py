"""FitNet's row values in their obvious form: the difference of unit rows."""

from torch import Tensor

from graphkd.similarity import unit_rows


def unit_gap(x_s: Tensor, x_t: Tensor) -> Tensor:
    """The mean over the columns of (s_i/‖s_i‖ − t_i/‖t_i‖)², for every row i."""
    return (unit_rows(x_s) - unit_rows(x_t)).square().mean(dim=1)
