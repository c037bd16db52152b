"""Additive score of the item context: one weight a level, apart for returns and discoveries.

    item_context_head(b, i) = sum_f weight[level_f(b, i), i in the history of b]

Items with the default in every column have no row and get 0. All weights start at 0.
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

    def forward(self, batch: Batch, view: CandidateView, history: HistoryIndex) -> Tensor:
        """Score of every candidate, shape (B, C).

        Args:
            batch: The queries, with the rows of their item context.
            view: The candidates.
            history: Index of the items of the full histories.
        """
        n_queries = history.column.shape[0]
        no_scores = history.is_first.new_zeros(n_queries, view.n_columns)
        if batch.context_levels.shape[-1] != self.n_columns:  # nothing is known
            return no_scores
        column = lookup(view.column, batch.context_item_idx)  # (B, P)
        is_owned = no_scores.scatter(1, history.column, 1.0).gather(1, column)  # (B, P)
        weights = self.level_weights * self.is_read  # (n_levels, 2)
        # (B * P * n_columns, 2) -> (B, P, n_columns, 2) -> (B, P, 2)
        row_weights = weights.index_select(0, batch.context_levels.flatten())
        row_weights = row_weights.view(*batch.context_levels.shape, 2).sum(2)
        row_scores = row_weights[..., 1] + is_owned * (row_weights[..., 0] - row_weights[..., 1])
        row_scores = row_scores * (column > 0)  # padding, and items that are no candidates
        return no_scores.scatter_add(1, column, row_scores)
