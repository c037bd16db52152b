"""Features of the items of a user's history at the time of the request."""

import torch
from torch import Tensor, nn

from chronotope.models.batch import Batch
from chronotope.models.item_tables import CLOSENESS, ItemTables, closeness
from chronotope.models.priors import Priors, request_hour_bin

N_FEATURES = 5 + len(CLOSENESS)
CATEGORY_WIDTH = 8
"""Width of a category's embedding."""


class ItemFeatures(nn.Module):
    """Category, stickiness, popularity, hours and closeness of each item of the history.

    Two places with equal visit counts differ in the probability of a return: a home has a high one,
    a museum a low one, and that of a bar depends on the hour.
    """

    n_out = N_FEATURES + CATEGORY_WIDTH

    def __init__(self, n_categories: int) -> None:
        """Build the embedding of categories."""
        super().__init__()
        self.category_embedding = nn.Embedding(n_categories, CATEGORY_WIDTH)
        nn.init.normal_(self.category_embedding.weight, std=0.1)

    def forward(self, batch: Batch, priors: Priors, item_tables: ItemTables) -> Tensor:
        """One vector for the item of each event, shape (B, L, n_out)."""
        item_idx, last_item = batch.item_idx, batch.item_idx[:, -1]
        category, last_category = item_tables.category[item_idx], item_tables.category[last_item]
        hour_bin = request_hour_bin(batch)[:, None]  # (B, 1)
        features = [
            priors.stickiness[item_idx],
            priors.popularity[item_idx] / 4.0,
            priors.by_hour[hour_bin, item_idx],
            priors.category_by_hour[hour_bin, category],
            priors.next_category[last_category[:, None], category] / 4.0,
            *closeness(
                item_tables, last_item, item_tables.xy_km[item_idx], item_tables.located[item_idx]
            ),
        ]  # each (B, L)
        return torch.cat([torch.stack(features, -1), self.category_embedding(category)], -1)
