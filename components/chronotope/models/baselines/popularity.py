"""Popularity baselines: the same ranking for every user, by number of events."""

from typing import Final, Self

import numpy as np

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Catalog, EventLog, Float64
from chronotope.contracts.ids import UNKNOWN
from chronotope.contracts.queries import Queries
from chronotope.models.baselines.fitted import require_fitted

DAY_S: Final = 86_400


class Popularity:
    """Ranking by the number of events of each item so far.

    ``score(i) = #{events of item i}``

    Example:
        >>> Popularity().name
        'popularity'
    """

    def __init__(self) -> None:
        """Create an unfitted model."""
        self._counts: Float64 | None = None

    @property
    def name(self) -> str:
        """Short name shown in tables."""
        return "popularity"

    @property
    def history_len(self) -> int | None:
        """One event, the minimum: the model does not read the history."""
        return 1

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Count the events of every item."""
        self._counts = np.zeros(catalog.n_items)
        self.observe(log)
        return self

    def observe(self, log: EventLog) -> None:
        """Recount the events from a longer log."""
        self._counts = item_counts(log, len(require_fitted(self._counts, self.name)))

    def scores(self, queries: Queries) -> Float64:
        """Repeat the counts for every query, shape (B, n_items)."""
        return np.tile(require_fitted(self._counts, self.name), (len(queries), 1))


class PopularityLastDays(Popularity):
    """Ranking by the events of each item in the last days before the latest observed event.

    ``score(i) = #{events of item i after t_latest - days}``

    Args:
        days: Length of the window in days, at least 1.
    """

    def __init__(self, days: int = 7) -> None:
        """Set the window."""
        super().__init__()
        if days < 1:
            raise ConfigError("The window must be at least one day long", received=days)
        self._days = days

    @property
    def name(self) -> str:
        """Short name shown in tables."""
        return f"popularity_{self._days}d"

    def observe(self, log: EventLog) -> None:
        """Recount over the window that ends with the latest event."""
        opens_s = log.occurred_s.max(initial=0) - self._days * DAY_S
        super().observe(log.take(log.occurred_s > opens_s))


def item_counts(log: EventLog, n_items: int) -> Float64:
    """Events of each item, shape (n_items,); unknown items are not counted."""
    counts = np.bincount(log.item_idx, minlength=n_items).astype(np.float64)
    counts[UNKNOWN] = 0.0
    return counts


def tie_breaker(log: EventLog, n_items: int) -> Float64:
    """Popularity scaled below 1, shape (n_items,), so that it only breaks ties of counts.

    ``tie(i) = #{events of item i} / (1 + #events)``
    """
    counts = item_counts(log, n_items)
    return np.asarray(counts / (1.0 + counts.sum()), dtype=np.float64)
