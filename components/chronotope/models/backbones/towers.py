"""Two towers: a network for the user's moment and one for the items."""

import math

import torch
from torch import Tensor, nn

from chronotope.models.backbones.events import N_NOW, Events, decayed_mean
from chronotope.models.config import ModelConfig
from chronotope.models.priors import Priors

FADING_EVENTS = 8.0
"""Events after which an event's weight is 1 / e, at first."""


class UserTower(nn.Module):
    """The decayed mean of the latest items and the moment, through two layers.

    Source:
        Covington et al. (2016), Deep Neural Networks for YouTube Recommendations.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers."""
        super().__init__()
        d = config.d_model
        self.log_tau = nn.Parameter(torch.tensor(math.log(FADING_EVENTS)))
        self.layers = nn.Sequential(nn.Linear(d + N_NOW, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, events: Events) -> Tensor:
        """The user's state, (B, L, d_model) to (B, d_model)."""
        mean = decayed_mean(x, events.known, self.log_tau)
        state: Tensor = self.layers(torch.cat([self.dropout(mean), events.now], dim=1))
        return state


class ItemTower(nn.Module):
    """Embeddings of items, corrected by a small network."""

    def __init__(self, d_model: int) -> None:
        """Build the layers."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(d_model, 2 * d_model), nn.GELU(), nn.Linear(2 * d_model, d_model)
        )

    def forward(self, table: Tensor, priors: Priors) -> Tensor:  # noqa: ARG002
        """Vectors of all items, shape (n_items, d_model); no prior is read."""
        corrected: Tensor = table + self.layers(table)
        return corrected
