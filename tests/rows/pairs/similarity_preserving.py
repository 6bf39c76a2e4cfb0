"""The contract row of similarity preserving."""

import graphkd
import graphkd.functional as G
from tests.oracles.pairs.similarity_preserving import similarity_preserving
from tests.rows.row import Loss

LOSS = Loss(
    "similarity_preserving",
    graphkd.SimilarityPreservingLoss,
    G.similarity_preserving_loss,
    similarity_preserving,
)
