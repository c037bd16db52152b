"""First-order Markov chain: transition counts from the last item."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.ids import UNKNOWN
from chronotope.contracts.queries import Queries
from chronotope.models.baselines.fitted import require_fitted
from chronotope.models.baselines.popularity import tie_breaker


@dataclass(frozen=True, slots=True)
class _Transitions:
    """Sparse transition counts; pairs are coded ``from * n_items + to``, increasing."""

    pairs: Int64
    counts: Int64
    ties: Float64  # popularity below 1


class FirstOrderMarkov:
    """Transition counts of all users from the last item to the next; popularity breaks ties.

    ``score(i | h) = #{transitions h_last -> i} + popularity(i) / (1 + #events)``

    A transition leads from the last event before a basket to each event of that
    basket, which is exactly what a query knows of its target. Counts are stored sparse
    (one number a pair that occurred), and only the rows of the queries are made dense.
    """

    def __init__(self) -> None:
        """Create an unfitted model."""
        self._n_items: int | None = None
        self._state: _Transitions | None = None

    @property
    def name(self) -> str:
        """Short name shown in tables."""
        return "markov"

    @property
    def history_len(self) -> int | None:
        """Only the last event is read."""
        return 1

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Count the transitions of a log."""
        self._n_items = catalog.n_items
        self.observe(log)
        return self

    def observe(self, log: EventLog) -> None:
        """Recount the transitions from a longer log."""
        n_items = require_fitted(self._n_items, self.name)
        pairs, counts = np.unique(_transition_pairs(log, n_items), return_counts=True)
        self._state = _Transitions(
            pairs=pairs,
            counts=counts.astype(np.int64),
            ties=tie_breaker(log, n_items),
        )

    def scores(self, queries: Queries) -> Float64:
        """Transition counts from each query's last item, shape (B, n_items)."""
        state = require_fitted(self._state, self.name)
        n_items = len(state.ties)
        last = queries.item_idx[:, -1].astype(np.int64)
        begin = np.searchsorted(state.pairs, last * n_items)
        end = np.searchsorted(state.pairs, (last + 1) * n_items)
        query, pair_idx = _spans(begin, end)
        scores_BI = np.tile(state.ties, (len(queries), 1))
        scores_BI[query, state.pairs[pair_idx] % n_items] += state.counts[pair_idx]
        return scores_BI


def _transition_pairs(log: EventLog, n_items: int) -> Int64:
    """Coded pair of every event that has a known predecessor, in log order."""
    before = log.basket_start() - 1
    has_past = before >= log.user_start()
    source = log.item_idx[before[has_past]].astype(np.int64)
    target = log.item_idx[has_past].astype(np.int64)
    known = (source != UNKNOWN) & (target != UNKNOWN)
    pairs: Int64 = source[known] * n_items + target[known]
    return pairs


def _spans(begin: Int64, end: Int64) -> tuple[Int64, Int64]:
    """Row number and position of every element of the spans [begin, end)."""
    lengths = end - begin
    row = np.repeat(np.arange(len(begin), dtype=np.int64), lengths)
    offset = np.arange(len(row), dtype=np.int64) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return row, begin[row] + offset
