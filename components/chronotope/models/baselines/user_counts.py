"""User counts: everybody is offered what they took most often themselves."""

from typing import Self

import numpy as np

from chronotope.contracts.eventlog import Catalog, EventLog, Float64
from chronotope.contracts.ids import UNKNOWN
from chronotope.contracts.queries import Queries
from chronotope.models.baselines.fitted import fitted


class UserCounts:
    """Events of each item in the asker's own history.

    ``score(i | h) = #{j : h_j = i}``

    The counts come from the query itself, so they are live to the last event and
    there is no state to update.
    """

    def __init__(self) -> None:
        """Start without a catalogue."""
        self._n_items: int | None = None

    @property
    def name(self) -> str:
        """Short name shown in tables."""
        return "user_counts"

    @property
    def history_len(self) -> int | None:
        """None: the whole history is counted."""
        return None

    def fit(self, log: EventLog, catalog: Catalog) -> Self:  # noqa: ARG002 - the protocol's shape
        """Remember the size of the catalogue; nothing is learned."""
        self._n_items = catalog.n_items
        return self

    def observe(self, log: EventLog) -> None:
        """Take nothing in: queries carry the history."""

    def scores(self, queries: Queries) -> Float64:
        """Count the history of each query, shape (B, n_items)."""
        return history_counts(queries, fitted(self._n_items, self.name))


def history_counts(queries: Queries, n_items: int) -> Float64:
    """Count how often each item is in each history, shape (B, n_items); padding is not counted."""
    row = np.arange(len(queries), dtype=np.int64)[:, None] * n_items
    flat = (row + queries.item_idx).ravel()  # (B * H,)
    counts = np.bincount(flat, minlength=len(queries) * n_items)
    counts_BI = counts.astype(np.float64).reshape(len(queries), n_items)
    counts_BI[:, UNKNOWN] = 0.0
    return counts_BI
