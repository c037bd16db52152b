"""The histories as the model walks them: the latest events, and one event an item."""

from typing import NamedTuple

import torch
from torch import Tensor

from chronotope.models.batch import Batch
from chronotope.models.item_tables import CandidateView


class HistoryIndex(NamedTuple):
    """Where the items of the histories stand.

    Attributes:
        column: Column of each event's item among the candidates, int64, shape (B, H).
        slot: Position of the event that represents each event's item, int64, (B, H).
        is_first: 1 at the representatives, float32, shape (B, H).
    """

    column: Tensor
    slot: Tensor
    is_first: Tensor

    def summed(self, values: Tensor) -> Tensor:
        """Sum over the events of each item, right at its representative, (B, H, F)."""
        slot = self.slot[..., None].expand_as(values)
        return torch.zeros_like(values).scatter_add(1, slot, values)


def index_history(batch: Batch, view: CandidateView) -> HistoryIndex:
    """Find one representative event of each item of the histories."""
    items = batch.item_idx
    at = torch.arange(items.shape[1], dtype=torch.int32, device=items.device)
    column = view.column[items]
    table = torch.zeros(items.shape[0], view.n_columns, dtype=torch.int32, device=items.device)
    slot = table.scatter(1, column, at.expand_as(items)).gather(1, column).long()
    return HistoryIndex(column, slot, ((slot == at) & (items > 0)).float())


def truncate_history(batch: Batch, length: int) -> Batch:
    """The same queries with at most the latest events of their histories."""
    if batch.item_idx.shape[1] <= length:
        return batch
    return batch._replace(
        item_idx=batch.item_idx[:, -length:],
        occurred_s=batch.occurred_s[:, -length:],
        utc_offset_min=batch.utc_offset_min[:, -length:],
        place_idx=batch.place_idx[:, -length:],
    )
