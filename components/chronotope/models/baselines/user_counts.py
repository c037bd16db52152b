"""User counts: a ranking by the item's number of events in the user's own history."""

from typing import Self

import numpy as np

from chronotope.contracts.event_log import Catalog, EventLog, Float64
from chronotope.contracts.ids import UNKNOWN
from chronotope.contracts.queries import Queries
from chronotope.models.baselines.fitted import require_fitted
from chronotope.models.baselines.popularity import tie_breaker


class UserCounts:
    """Ranking by the events of each item in the user's history; popularity breaks ties.

    ``score(i | h) = #{j : h_j = i} + popularity(i) / (1 + #events)``

    The counts come from the query itself, so they are live to the last event; only
    the popularity that orders equal counts waits for ``observe``.
    """

    def __init__(self) -> None:
        """Create an unfitted model."""
        self._ties: Float64 | None = None

    @property
    def name(self) -> str:
        """Short name shown in tables."""
        return "user_counts"

    @property
    def history_len(self) -> int | None:
        """None: the model reads the whole history."""
        return None

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Count the popularity of every item."""
        self._ties = tie_breaker(log, catalog.n_items)
        return self

    def observe(self, log: EventLog) -> None:
        """Recount the popularity from a longer log."""
        self._ties = tie_breaker(log, len(require_fitted(self._ties, self.name)))

    def scores(self, queries: Queries) -> Float64:
        """Count the history of each query, shape (B, n_items)."""
        ties = require_fitted(self._ties, self.name)
        return history_counts(queries, len(ties)) + ties


def history_counts(queries: Queries, n_items: int) -> Float64:
    """Count how often each item is in each history, shape (B, n_items); padding is not counted."""
    row = np.arange(len(queries), dtype=np.int64)[:, None] * n_items
    flat = (row + queries.item_idx).ravel()  # (B * H,)
    counts = np.bincount(flat, minlength=len(queries) * n_items)
    counts_BI = counts.astype(np.float64).reshape(len(queries), n_items)  # (B, n_items)
    counts_BI[:, UNKNOWN] = 0.0
    return counts_BI
