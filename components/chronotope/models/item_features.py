"""What everybody knows of the items of a user's own past, at the moment of the request."""

import torch
from torch import Tensor, nn

from chronotope.models.batch import Batch
from chronotope.models.item_tables import CLOSENESS, ItemTables, closeness
from chronotope.models.priors import Priors, request_hour_bin

N_FACTS = 5 + len(CLOSENESS)
N_KINDS = 8
"""Width of a category's embedding."""


class ItemFeatures(nn.Module):
    """Category, habit-forming power, popularity, hours and nearness of each own item.

    Two places visited as often are not as likely to be visited again: a home is, a museum
    is not, and a bar is not at nine in the morning.
    """

    n_out = N_FACTS + N_KINDS

    def __init__(self, n_categories: int) -> None:
        """Build the embedding of categories."""
        super().__init__()
        self.kind = nn.Embedding(n_categories, N_KINDS)
        nn.init.normal_(self.kind.weight, std=0.1)

    def forward(self, batch: Batch, priors: Priors, tables: ItemTables) -> Tensor:
        """One vector for the item of each event, shape (B, L, n_out)."""
        items, last = batch.item_idx, batch.item_idx[:, -1]
        category = tables.category[items]
        moment = request_hour_bin(batch)[:, None]
        facts = [
            priors.stickiness[items],
            priors.popularity[items] / 4.0,
            priors.by_hour[moment, items],
            priors.category_by_hour[moment, category],
            priors.next_category[tables.category[last][:, None], category] / 4.0,
            *closeness(tables, last, tables.xy_km[items], tables.located[items]),
        ]
        return torch.cat([torch.stack(facts, -1), self.kind(category)], -1)
