"""What factor transfer makes factors with: the teacher's autoencoder, the student's translator."""

from itertools import pairwise

from torch import Tensor, nn

_SLOPE = 0.1


def translator(dim_in: int, dim_out: int) -> nn.Sequential:
    """Three linear layers, each with a leaky ReLU."""
    return _layers(dim_in, dim_in, dim_out, dim_out)


class Paraphraser(nn.Module):
    """An autoencoder of the teacher's rows. Called, it gives the code: the teacher's factors."""

    def __init__(self, dim: int, dim_code: int) -> None:
        super().__init__()
        self.encoder = translator(dim, dim_code)
        self.decoder = _layers(dim_code, dim_code, dim, dim)

    def forward(self, h: Tensor) -> Tensor:
        """The factors of the teacher's rows."""
        factors: Tensor = self.encoder(h)
        return factors

    def reconstruct(self, h: Tensor) -> Tensor:
        """The teacher's rows, from their factors."""
        rows: Tensor = self.decoder(self.encoder(h))
        return rows


def _layers(*widths: int) -> nn.Sequential:
    layers = [(nn.Linear(*pair), nn.LeakyReLU(_SLOPE)) for pair in pairwise(widths)]
    return nn.Sequential(*(module for layer in layers for module in layer))
