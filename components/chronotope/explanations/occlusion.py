"""Occlusion: scores of items after events were removed from a history.

Each removal is a query of its own, as if the events had never happened; many of them are one run
of the graph. So the numbers are the model's own answers, not those of a local approximation.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from chronotope.artifact.item_index import Mask
from chronotope.contracts.event_log import Float32, Float64, Int64
from chronotope.contracts.queries import Queries

MAX_SCORES: Final = 400_000
"""Scores of one run of the graph, about: bounds its memory for a large catalogue."""

MAX_QUERIES: Final = 32
"""Queries of one run: more are no faster on one core."""

_HISTORY_COLUMNS: Final = ("item_idx", "occurred_s", "utc_offset_min", "place_idx")


class OccludedScores(NamedTuple):
    """Scores of k items for M versions of a history.

    Attributes:
        log_probability: Over the whole catalogue, shape (M, k).
        rank: 1 + number of items with a higher score, shape (M, k).
    """

    log_probability: Float64
    rank: Int64


@dataclass(frozen=True, slots=True)
class HistoryOcclusion:
    """One query, a model, and the items whose scores are read.

    Attributes:
        score: Logits of a batch of queries, shape (B, n_items).
        query: A batch of size 1, its history right-aligned, shape (1, H).
        item_idx: Items, shape (k,).
    """

    score: Callable[[Queries], Float32]
    query: Queries
    item_idx: Int64

    @property
    def n_events(self) -> int:
        """Number H of positions of the history, padding included."""
        return int(self.query.item_idx.shape[1])

    def run(self, removed: Mask) -> OccludedScores:
        """Scores without some events.

        Args:
            removed: True at the positions that are removed, shape (M, H).
        """
        probabilities, ranks = [], []
        for rows in self._blocks(removed):
            logits = self.score(without_events(self.query, rows)).astype(np.float64)  # (m, n_items)
            logits[:, 0] = -np.inf
            item_logits = logits[:, self.item_idx]  # (m, k)
            highest = logits.max(axis=1, keepdims=True)
            log_total = highest + np.log(np.exp(logits - highest).sum(axis=1, keepdims=True))
            probabilities.append(item_logits - log_total)
            is_higher = logits[:, :, None] > item_logits[:, None, :]  # (m, n_items, k)
            ranks.append(1 + is_higher.sum(axis=1))
        return OccludedScores(np.concatenate(probabilities), np.concatenate(ranks))

    def _blocks(self, removed: Mask) -> Iterator[Mask]:
        """Rows in blocks of about ``MAX_SCORES`` scores; the first row alone shows their number."""
        n_items = self.score(self.query.take(slice(0, 1))).shape[1] if len(removed) > 1 else 1
        n_rows = int(np.clip(MAX_SCORES // n_items, 1, MAX_QUERIES))
        for start in range(0, len(removed), n_rows):
            yield removed[start : start + n_rows]


def without_events(query: Queries, removed: Mask) -> Queries:
    """A query once for each of M sets of removed events.

    Args:
        query: A batch of size 1.
        removed: True at the positions that are removed, shape (M, H).

    Returns:
        M queries whose remaining events are right-aligned; moment, place and context of the
        request stay.
    """
    copies = query.take(np.zeros(len(removed), np.int64))
    is_kept = ~removed & (copies.item_idx > 0)  # (M, H)
    order = np.argsort(is_kept, axis=1, kind="stable")  # removed events first, then the others
    rows = np.arange(len(removed))[:, None]
    # without the columns of padding that all rows share the graph reads a shorter history
    first_column = int((~is_kept).sum(axis=1).min(initial=is_kept.shape[1] - 1))
    first_column = min(first_column, is_kept.shape[1] - 1)
    columns = {
        name: np.where(is_kept, getattr(copies, name), 0)[rows, order][:, first_column:]
        for name in _HISTORY_COLUMNS
    }
    return Queries.of_arrays(copies.arrays() | columns)
