"""Columns of the request's context, such as the weather: inputs of the gates, and item scores.

For a query b with columns x_1 .. x_N,

    f_b = (z_1 [x_1 known], .., z_N [x_N known], [x_1 known], .., [x_N known])
    z_n = (x_n - mean_n) / scale_n
    item_scores(b, i) += <context_layer f_b, e_i + e_category(i)>

f_b is also a part of the query context that every gate reads. An unknown column is zero in both,
so a request without context gets the scores of a model without columns.
"""

import numpy as np
import torch
from torch import Tensor, nn

from chronotope.contracts.event_log import EventLog
from chronotope.models.batch import Batch
from chronotope.models.item_tables import ItemTables

EMBEDDING_WIDTH = 8
"""Width of the context embeddings of items and categories."""

MAX_SCALES = 5.0
"""Distance from the mean, in scales, at which a value is clipped."""


class ContextHead(nn.Module):
    """Standardised context columns, and the score of each item given them."""

    mean: Tensor
    scale: Tensor

    def __init__(self, columns: tuple[str, ...], item_tables: ItemTables) -> None:
        """Build for N columns; ``measure`` then sets their scales from a log."""
        super().__init__()
        self.columns = columns
        self.n_out = 2 * len(columns)
        self.register_buffer("mean", torch.zeros(len(columns)))
        self.register_buffer("scale", torch.ones(len(columns)))
        if columns:
            self.context_layer = nn.Linear(self.n_out, EMBEDDING_WIDTH, bias=False)
            nn.init.zeros_(self.context_layer.weight)
            self.item_embedding = nn.Embedding(item_tables.n_items, EMBEDDING_WIDTH)
            self.category_embedding = nn.Embedding(item_tables.n_categories, EMBEDDING_WIDTH)
            nn.init.normal_(self.item_embedding.weight, std=0.1)
            nn.init.normal_(self.category_embedding.weight, std=0.3)

    def measure(self, log: EventLog) -> None:
        """Set mean and scale of each column from a log; an absent column is unknown."""
        for column_idx, column_name in enumerate(self.columns):
            values = log.context.get(column_name, np.empty(0, np.float32)).astype(np.float64)
            values = values[np.isfinite(values)]
            if len(values):
                self.mean[column_idx] = float(values.mean())
                self.scale[column_idx] = max(float(values.std()), 1e-6)

    def forward(self, batch: Batch) -> Tensor:
        """Standardised columns and whether each is known, shape (B, 2 N)."""
        context = batch.context[:, : len(self.columns)]  # user attributes may follow
        is_known = torch.isfinite(context)
        z_scores = (torch.where(is_known, context, self.mean) - self.mean) / self.scale
        return torch.cat([z_scores.clamp(-MAX_SCALES, MAX_SCALES), is_known.float()], dim=1)

    def item_table(self, item_tables: ItemTables, candidates: Tensor | None = None) -> Tensor:
        """Context embedding of each item, (n_items, EMBEDDING_WIDTH), or of C candidates."""
        item_weight, category = self.item_embedding.weight, item_tables.category
        if candidates is not None:
            item_weight, category = item_weight[candidates], category[candidates]
        return item_weight + self.category_embedding.weight[category]

    def item_scores(
        self, column_features: Tensor, item_tables: ItemTables, candidates: Tensor | None
    ) -> Tensor:
        """Score of each item in this context, shape (B, n_items), or (B, C) for candidates."""
        item_table = self.item_table(item_tables, candidates)
        item_scores: Tensor = self.context_layer(column_features) @ item_table.T
        return item_scores
