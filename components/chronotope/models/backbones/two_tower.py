"""Two towers: a network for the user's moment and one for the items."""

import torch
from torch import Tensor, nn

from chronotope.models.backbones.event_inputs import N_NOW
from chronotope.models.config import ModelConfig
from chronotope.models.priors import Priors


class UserTower(nn.Module):
    """The decayed mean of the latest items and the moment, through two layers.

    Source:
        Covington et al. (2016), Deep Neural Networks for YouTube Recommendations.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers."""
        super().__init__()
        d = config.d_model
        self.layers = nn.Sequential(nn.Linear(d + N_NOW, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, mean: Tensor, now: Tensor) -> Tensor:
        """Mean of the latest items, (B, d_model), to the user's state of the same shape."""
        state: Tensor = self.layers(torch.cat([self.dropout(mean), now], dim=1))
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
