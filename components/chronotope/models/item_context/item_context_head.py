"""Additive score of the item context, apart for returns and discoveries.

    item_context_head(b, i) = sum_f level_weight[level_f(b, i), r]
                              + lift_weight[r] lift(i, s(b, i))       r = i in the history of b

s(b, i) is the number of columns of the item that differ from their defaults, and lift(i, s) how
much more the item sold then (``context_lift``). Items with the default in every column have no row
and get 0. All weights start at 0.
"""

from typing import Self

import torch
from torch import Tensor, nn

from chronotope.contracts.event_log import Catalog
from chronotope.contracts.item_context import ItemContextColumn, n_levels
from chronotope.models.batch import Batch, lookup
from chronotope.models.config import ModelConfig
from chronotope.models.history_index import HistoryIndex
from chronotope.models.item_tables import CandidateView
from chronotope.models.priors import Priors


class ItemContextHead(nn.Module):
    """Weights of the levels.

    Attributes:
        n_columns: Columns of a row, those included that the head does not read.
    """

    is_read: Tensor

    def __init__(
        self, columns: tuple[ItemContextColumn, ...], read_columns: tuple[str, ...]
    ) -> None:
        """Build with all weights zero.

        Args:
            columns: All columns of the item context and their levels.
            read_columns: Names of the columns to read; the levels of the others have no weight.
        """
        super().__init__()
        self.n_columns = len(columns)
        self._columns = columns
        self.register_buffer("is_read", self.mask_of(read_columns))
        # one column for items of the history, one for the others
        self.level_weights = nn.Parameter(torch.zeros(n_levels(columns), 2))
        self.lift_weights = nn.Parameter(torch.zeros(2))

    def mask_of(self, column_names: tuple[str, ...]) -> Tensor:
        """1 at the levels of some columns, else 0, shape (n_levels, 1)."""
        mask = torch.zeros(n_levels(self._columns), 1)
        for column in self._columns:
            if column.name in column_names:
                mask[column.first : column.first + len(column.levels)] = 1.0
        return mask

    @classmethod
    def of_columns(cls, config: ModelConfig, catalog: Catalog) -> Self | None:
        """Head of the columns that a network reads; None if it reads none."""
        names = {column.name for column in catalog.item_context}
        if not names.intersection(config.item_context):
            return None
        return cls(catalog.item_context, config.item_context)

    def forward(
        self, batch: Batch, priors: Priors, view: CandidateView, history: HistoryIndex
    ) -> Tensor:
        """Score of every candidate, shape (B, C).

        Args:
            batch: The queries, with the rows of their item context.
            priors: Lift of the items.
            view: The candidates.
            history: Index of the items of the full histories.
        """
        n_queries = history.column.shape[0]
        no_scores = history.is_first.new_zeros(n_queries, view.n_columns)
        if batch.context_levels.shape[-1] != self.n_columns:  # nothing is known
            return no_scores
        column = lookup(view.column, batch.context_item_idx)  # (B, P)
        is_owned = no_scores.scatter(1, history.column, 1.0).gather(1, column)  # (B, P)
        lift = self.row_lift(batch.context_item_idx, batch.context_levels, priors.context_lift)
        row_scores = self.row_scores(batch.context_levels, is_owned.long(), lift)  # (B, P)
        row_scores = row_scores * (column > 0)  # padding, and items that are no candidates
        return no_scores.scatter_add(1, column, row_scores)

    def row_scores(self, levels: Tensor, is_owned: Tensor, lift: Tensor) -> Tensor:
        """Score of each row, shape (...,).

        Args:
            levels: Levels of the rows, int64, shape (..., n_columns).
            is_owned: 1 for an item of the history, else 0, int64, shape (...,).
            lift: Result of ``row_lift``, shape (...,).
        """
        # index of the weight of each level, returns first
        columns = 2 * levels + (1 - is_owned)[..., None]  # (..., n_columns)
        level_scores = lookup((self.level_weights * self.is_read).flatten(), columns).sum(-1)
        return level_scores + lookup(self.lift_weights, 1 - is_owned) * lift

    def row_lift(self, item_idx: Tensor, levels: Tensor, context_lift: Tensor) -> Tensor:
        """Lift of the item of each row in its state, shape (B, P).

        Args:
            item_idx: Items of the rows, int64, shape (B, P).
            levels: Levels of the rows, int64, shape (B, P, n_columns).
            context_lift: Of the priors, shape (n_items, n_states).
        """
        states = context_lift.shape[1]
        is_set = lookup(self.is_read[:, 0], levels)  # (B, P, n_columns)
        state = is_set.sum(2).long().clamp(max=states)  # (B, P)
        # (n_items, states) -> (n_items, 1 + states): no lift in the default state
        lift = nn.functional.pad(context_lift, (1, 0)).flatten()
        return lookup(lift, item_idx * (1 + states) + state)
