"""Index of the items of each history: one representative event for each item."""

from typing import Final, NamedTuple

import torch
from torch import Tensor

from chronotope.models.batch import Batch
from chronotope.models.item_tables import CandidateView

LARGEST: Final = 1e9
"""Above any value that ``min_by_item`` compares."""


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
        rows = _flatten_events(event_values)  # (B * H, F)
        sums = torch.zeros_like(rows).index_add(0, self.representative_row, rows)
        return sums.view(event_values.shape)

    def at_representative(self, event_values: Tensor) -> Tensor:
        """Value of each event's representative, (B, H, F)."""
        rows = _flatten_events(event_values)  # (B * H, F)
        return rows.index_select(0, self.representative_row).view(event_values.shape)

    @property
    def representative_row(self) -> Tensor:
        """Row of each event's representative among all B * H events, int64, (B * H,)."""
        n_queries, n_events = self.slot.shape
        first_row = torch.arange(n_queries, device=self.slot.device) * n_events
        return (self.slot + first_row[:, None]).flatten()


class ItemRows(NamedTuple):
    """The R events that represent their items, as rows of one table over all queries.

    In a graph that is traced the sizes may not depend on the data: there every event has a row,
    and R is B * H.

    Attributes:
        row_of_event: Row of each event's item, int64, shape (B * H,).
        event_idx: Event of each row, int64, shape (R,); None if every event has a row.
        shape: B and H.
    """

    row_of_event: Tensor
    event_idx: Tensor | None
    shape: tuple[int, int]

    def sum_by_item(self, event_values: Tensor) -> Tensor:
        """Sum over the events of each item, (B, H, F) -> (R, F)."""
        rows = _flatten_events(event_values)  # (B * H, F)
        # len() would turn a symbolic size of a trace into a constant
        n_rows = (rows if self.event_idx is None else self.event_idx).shape[0]
        return rows.new_zeros(n_rows, rows.shape[1]).index_add(0, self.row_of_event, rows)

    def min_by_item(self, event_values: Tensor) -> Tensor:
        """Smallest value over the events of each item, (B, H) -> (R,).

        Args:
            event_values: Values without a gradient, largest in padding, which is in any row.
        """
        values = event_values.reshape(-1)
        n_rows = (values if self.event_idx is None else self.event_idx).shape[0]
        largest = values.new_full((n_rows + 1,), LARGEST)  # padding needs a row where R is 0
        return largest.scatter_reduce(0, self.row_of_event, values, "amin")[:n_rows]

    def select(self, event_values: Tensor) -> Tensor:
        """Values of the representatives, (B, H, F) -> (R, F)."""
        rows = _flatten_events(event_values)  # (B * H, F)
        return rows if self.event_idx is None else rows.index_select(0, self.event_idx)

    def repeat_query(self, query_values: Tensor) -> Tensor:
        """Values of each row's query, (B, F) -> (R, F)."""
        n_queries, n_events = self.shape
        if self.event_idx is None:
            repeated = query_values[:, None].expand(n_queries, n_events, query_values.shape[1])
            return _flatten_events(repeated)
        query_idx = torch.div(self.event_idx, n_events, rounding_mode="floor")
        return query_values.index_select(0, query_idx)

    def at_events(self, row_values: Tensor) -> Tensor:
        """Values at the representatives, 0 at other events, (R,) -> (B, H)."""
        if self.event_idx is None:
            return row_values.view(self.shape)
        event_values = row_values.new_zeros(self.shape[0] * self.shape[1])
        return event_values.index_add(0, self.event_idx, row_values).view(self.shape)


def item_rows(history: HistoryIndex) -> ItemRows:
    """Rows of the items of all histories."""
    shape = (history.slot.shape[0], history.slot.shape[1])
    if torch.compiler.is_compiling():
        return ItemRows(history.representative_row, None, shape)
    is_first = history.is_first.flatten().long()  # float32 counts exactly to 2^24 only
    # padding has no representative: its values are 0 and may be added to any row
    row_of_event = (is_first.cumsum(0) - 1).clamp(min=0)
    return ItemRows(
        row_of_event.index_select(0, history.representative_row),
        is_first.nonzero()[:, 0],
        shape,
    )


def _flatten_events(event_values: Tensor) -> Tensor:
    """(B, H, F) -> (B * H, F)."""
    return event_values.reshape(-1, event_values.shape[-1])


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
