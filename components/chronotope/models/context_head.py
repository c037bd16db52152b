"""Columns of the request's context, such as the weather: for the gates, and as tastes.

For a query b with columns x_1 .. x_N,

    c_b   = (z_1 [x_1 known], [x_1 known], ...),   z_n = (x_n - mean_n) / scale_n
    score(b, i) += <A c_b, e_i + e_category(i)>

c_b also joins the context that every gate listens to. What is unknown is zero in both, so a
request that tells nothing is answered as by a model without columns.
"""

import numpy as np
import torch
from torch import Tensor, nn

from chronotope.contracts.event_log import EventLog
from chronotope.models.batch import Batch
from chronotope.models.item_tables import ItemTables

N_TASTES = 8
"""Ways in which items may differ in how they take the context."""

MOST_SCALES = 5.0
"""Further from the mean than this many scales a value speaks no louder."""


class ContextHead(nn.Module):
    """Scaled columns, and what each item is worth under them."""

    mean: Tensor
    scale: Tensor

    def __init__(self, columns: tuple[str, ...], tables: ItemTables) -> None:
        """Build for some columns; ``measure`` then learns their scales from a log."""
        super().__init__()
        self.columns = columns
        self.n_out = 2 * len(columns)
        self.register_buffer("mean", torch.zeros(len(columns)))
        self.register_buffer("scale", torch.ones(len(columns)))
        if columns:
            self.tastes = nn.Linear(self.n_out, N_TASTES, bias=False)
            nn.init.zeros_(self.tastes.weight)
            self.item = nn.Embedding(tables.n_items, N_TASTES)
            self.category = nn.Embedding(tables.n_categories, N_TASTES)
            nn.init.normal_(self.item.weight, std=0.1)
            nn.init.normal_(self.category.weight, std=0.3)

    def measure(self, log: EventLog) -> None:
        """Take mean and scale of each column from a log; an absent column is unknown."""
        for at, name in enumerate(self.columns):
            known = log.context.get(name, np.empty(0, np.float32)).astype(np.float64)
            known = known[np.isfinite(known)]
            if len(known):
                self.mean[at] = float(known.mean())
                self.scale[at] = max(float(known.std()), 1e-6)

    def forward(self, batch: Batch) -> Tensor:
        """Scaled columns and whether each is known, shape (B, 2 N)."""
        known = torch.isfinite(batch.context)
        z = (torch.where(known, batch.context, self.mean) - self.mean) / self.scale
        return torch.cat([z.clamp(-MOST_SCALES, MOST_SCALES), known.float()], dim=1)

    def scores(self, told: Tensor, tables: ItemTables, candidates: Tensor | None) -> Tensor:
        """What the context says of each item, shape (B, n_items), or (B, C) for candidates."""
        items, category = self.item.weight, tables.category
        if candidates is not None:
            items, category = items[candidates], category[candidates]
        scores: Tensor = self.tastes(told) @ (items + self.category.weight[category]).T
        return scores
