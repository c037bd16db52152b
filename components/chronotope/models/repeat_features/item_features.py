"""Features of the items of a user's history at the time of the request."""

import torch
from torch import Tensor, nn

from chronotope.models.batch import Batch, lookup
from chronotope.models.history_index import ItemRows
from chronotope.models.item_tables import CLOSENESS, ItemTables, closeness
from chronotope.models.priors import Priors, request_hour_bin
from chronotope.models.repeat_features.return_features import N_RETURN_FEATURES, return_features

N_FEATURES = 5 + len(CLOSENESS)
CATEGORY_WIDTH = 8
"""Width of a category's embedding."""


class ItemFeatures(nn.Module):
    """Category, stickiness, popularity, hours and closeness of each item of the history.

    Two places with equal visit counts differ in the probability of a return: a home has a high one,
    a museum a low one, and that of a bar depends on the hour. Two with equal kernels differ by how
    regularly the user comes: the return features come last.
    """

    n_out = N_FEATURES + CATEGORY_WIDTH + N_RETURN_FEATURES

    def __init__(self, n_categories: int) -> None:
        """Build the embedding of categories."""
        super().__init__()
        self.category_embedding = nn.Embedding(n_categories, CATEGORY_WIDTH)
        nn.init.normal_(self.category_embedding.weight, std=0.1)

    def forward(
        self, rows: ItemRows, batch: Batch, priors: Priors, item_tables: ItemTables
    ) -> Tensor:
        """One vector for each row, shape (R, n_out)."""
        item_idx = rows.select(batch.item_idx[..., None])[:, 0]  # (R,)
        query = torch.stack([batch.item_idx[:, -1], request_hour_bin(batch)], dim=1)  # (B, 2)
        last_item, hour_bin = rows.repeat_query(query).unbind(1)  # (R,)
        category = lookup(item_tables.category, item_idx)
        last_category = lookup(item_tables.category, last_item)
        point_km = (lookup(km, item_idx) for km in (item_tables.east_km, item_tables.north_km))
        distance_km = item_tables.distance_km(last_item, *point_km)
        both_located = lookup(item_tables.located, item_idx) * lookup(
            item_tables.located, last_item
        )
        features = [
            lookup(priors.stickiness, item_idx),
            lookup(priors.popularity, item_idx) / 4.0,
            priors.by_hour[hour_bin, item_idx],
            priors.category_by_hour[hour_bin, category],
            priors.next_category[last_category, category] / 4.0,
            *(measure * both_located for measure in closeness(distance_km)),
        ]  # each (R,)
        n_categories = priors.next_category.shape[0]
        returns = return_features(rows, batch, item_tables.category, n_categories)
        columns = [torch.stack(features, -1), self.category_embedding(category), returns]
        return torch.cat(columns, -1)
