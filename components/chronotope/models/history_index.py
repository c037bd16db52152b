"""Index of the items of each history: one representative event for each item."""

from typing import NamedTuple

import torch
from torch import Tensor

from chronotope.models.batch import Batch
from chronotope.models.item_tables import CandidateView


class HistoryIndex(NamedTuple):
    """Positions of the items of B histories of H events.

    Attributes:
        column: Column of each event's item among the candidates, int64, shape (B, H).
        slot: Position of the event that represents each event's item, int64, (B, H).
        is_first: 1 at the representatives, float32, shape (B, H).
    """

    column: Tensor
    slot: Tensor
    is_first: Tensor

    def sum_by_item(self, event_values: Tensor) -> Tensor:
        """Sum over the events of each item, stored at its representative, (B, H, F)."""
        slot = self.slot[..., None].expand_as(event_values)  # (B, H, F)
        return torch.zeros_like(event_values).scatter_add(1, slot, event_values)


def index_history(batch: Batch, view: CandidateView) -> HistoryIndex:
    """Choose one representative event of each item of the histories."""
    item_idx = batch.item_idx
    n_queries, n_events = item_idx.shape
    positions = torch.arange(n_events, dtype=torch.int32, device=item_idx.device)
    column = view.column[item_idx]  # (B, H)
    position_table = torch.zeros(
        n_queries, view.n_columns, dtype=torch.int32, device=item_idx.device
    )
    position_table = position_table.scatter(1, column, positions.expand_as(item_idx))  # (B, C)
    slot = position_table.gather(1, column).long()  # (B, H)
    return HistoryIndex(column, slot, ((slot == positions) & (item_idx > 0)).float())


def truncate_history(batch: Batch, max_events: int) -> Batch:
    """Queries with their histories cut to the latest events; the same object if none is longer."""
    if _is_at_most(batch.item_idx.shape[1], max_events):
        return batch
    return batch._replace(
        item_idx=batch.item_idx[:, -max_events:],
        occurred_s=batch.occurred_s[:, -max_events:],
        utc_offset_min=batch.utc_offset_min[:, -max_events:],
        place_idx=batch.place_idx[:, -max_events:],
    )


def _is_at_most(n_events: int, max_events: int) -> bool:
    """Whether no history is longer; False where the length is open in an exported graph."""
    if not torch.compiler.is_exporting():
        return n_events <= max_events
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return bool(statically_known_true(n_events <= max_events))
