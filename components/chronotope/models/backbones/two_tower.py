"""Two-tower model: an MLP for the user and the request, and an MLP for the items."""

import torch
from torch import Tensor, nn

from chronotope.models.backbones.event_inputs import N_REQUEST
from chronotope.models.config import ModelConfig
from chronotope.models.priors import Priors


class UserTower(nn.Module):
    """MLP over the decayed mean of the latest items and the request features.

    Source:
        Covington et al. (2016), Deep Neural Networks for YouTube Recommendations.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers."""
        super().__init__()
        d = config.d_model
        self.layers = nn.Sequential(nn.Linear(d + N_REQUEST, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, history_mean: Tensor, request_features: Tensor) -> Tensor:
        """Mean of the latest items, (B, d_model), to the user's state of the same shape."""
        state: Tensor = self.layers(
            torch.cat([self.dropout(history_mean), request_features], dim=1)
        )
        return state


class ItemTower(nn.Module):
    """Item embeddings with a residual MLP."""

    def __init__(self, d_model: int) -> None:
        """Build the layers."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(d_model, 2 * d_model), nn.GELU(), nn.Linear(2 * d_model, d_model)
        )

    def forward(self, item_table: Tensor, priors: Priors) -> Tensor:  # noqa: ARG002
        """Vectors of all items, shape (n_items, d_model); no prior is read."""
        item_vectors: Tensor = item_table + self.layers(item_table)
        return item_vectors
