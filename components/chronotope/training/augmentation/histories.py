"""Augmented histories of training queries.

Source: Xie et al. (2022), *Contrastive learning for sequential recommendation*, for crop, mask and
reorder; Liu et al. (2021), *Contrastive self-supervised sequential recommendation with robust
augmentation*, for substitution by similar items.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from chronotope.contracts.event_log import Catalog, EventLog, Int32, Int64
from chronotope.contracts.queries import Queries
from chronotope.training.augmentation.config import SPARSE_EVENTS, AugmentationConfig
from chronotope.training.generators.item_tables import pair_shares

_MASKED_SHARE: Final = 0.3
_SUBSTITUTED_SHARE: Final = 0.2
_SHORTEST_CROP: Final = 0.5
_SPAN: Final = 5
_WINDOW_LENGTHS: Final = (1, 3, 5, 10)
_STEPS: Final = range(1, 4)


@dataclass(frozen=True, slots=True)
class HistoryAugmentation:
    """Random changes of the histories of a batch.

    Attributes:
        config: Kind and amount.
        neighbours: Items that other users have beside an item, as shares; None unless items are
            substituted.
        items_are_places: Whether a substituted item changes the place.
    """

    config: AugmentationConfig
    neighbours: sparse.csr_matrix | None
    items_are_places: bool

    @classmethod
    def of(
        cls, config: AugmentationConfig, log: EventLog, catalog: Catalog
    ) -> "HistoryAugmentation":
        """Augmentation for the training on a log.

        Args:
            config: Kind and amount.
            log: Events before the validation targets, from which neighbours are counted.
            catalog: Its catalogue.
        """
        neighbours = None
        if config.kind == "substitute":
            is_known = np.ones(catalog.n_items, np.bool_)
            is_known[0] = False
            neighbours = pair_shares(
                log, catalog.n_items, is_known, min_users=1, steps=_STEPS, both_ways=True
            )
        return cls(config, neighbours, catalog.items_are_places)

    def apply(self, queries: Queries, rng: np.random.Generator) -> Queries:
        """Queries of which some have a changed history; arguments are not changed.

        Args:
            queries: Queries of a batch.
            rng: Source of the draws.
        """
        n_events = (queries.item_idx > 0).sum(axis=1)
        is_chosen = (rng.random(len(queries)) < self.config.amount) & (n_events > 1)
        if self.config.sparse_only:
            is_chosen &= n_events <= SPARSE_EVENTS
        if not is_chosen.any():
            return queries
        if self.config.kind == "reorder":
            return _with_items(queries, *_reordered(queries, is_chosen, rng))
        if self.config.kind == "substitute":
            return _with_items(queries, *self._substituted(queries, is_chosen, rng))
        return _keep_events(queries, self._kept(queries, n_events, rng) | ~is_chosen[:, None])

    def _kept(
        self, queries: Queries, n_events: Int64, rng: np.random.Generator
    ) -> npt.NDArray[np.bool_]:
        """Events that stay of a crop, a window or a mask; the last always, shape (B, H)."""
        n_queries, width = queries.item_idx.shape
        column = np.arange(width)
        if self.config.kind == "mask":
            is_kept = rng.random((n_queries, width)) >= _MASKED_SHARE
        elif self.config.kind == "window":
            lengths = rng.choice(_WINDOW_LENGTHS, n_queries)
            is_kept = column >= (width - lengths)[:, None]
        else:
            share = rng.uniform(_SHORTEST_CROP, 1.0, n_queries)
            n_kept = np.ceil(share * n_events).astype(np.int64)
            start_columns = (
                width - n_events + (rng.random(n_queries) * (n_events - n_kept + 1)).astype(int)
            )
            is_kept = (column >= start_columns[:, None]) & (
                column < (start_columns + n_kept)[:, None]
            )
        is_kept[:, -1] = True
        return np.asarray(is_kept, dtype=np.bool_)

    def _substituted(
        self, queries: Queries, is_chosen: npt.NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[Int32, Int32]:
        """Items and places with some items replaced by neighbours; the last item stays."""
        item_idx, place_idx = queries.item_idx.copy(), queries.place_idx.copy()
        is_replaced = (rng.random(item_idx.shape) < _SUBSTITUTED_SHARE) & is_chosen[:, None]
        is_replaced &= item_idx > 0
        is_replaced[:, -1] = False
        old_items = item_idx[is_replaced]
        new_items = self._neighbours_of(old_items, rng)
        item_idx[is_replaced] = new_items
        if self.items_are_places:
            place_idx[is_replaced] = new_items
        return item_idx, place_idx

    def _neighbours_of(self, item_idx: Int32, rng: np.random.Generator) -> Int32:
        """A neighbour of each item; items without any stay."""
        if self.neighbours is None:
            return item_idx
        start_columns, ends = (self.neighbours.indptr[item_idx + shift] for shift in (0, 1))
        cumulative = np.concatenate([[0.0], np.cumsum(self.neighbours.data)])
        points = cumulative[start_columns] + rng.random(len(item_idx)) * (
            cumulative[ends] - cumulative[start_columns]
        )
        entries = np.searchsorted(cumulative, points, side="right") - 1
        entries = np.clip(entries, start_columns, np.maximum(ends - 1, start_columns))
        has_any = ends > start_columns
        chosen = (
            self.neighbours.indices[np.where(has_any, entries, 0)] if has_any.any() else item_idx
        )
        return np.where(has_any, chosen, item_idx).astype(np.int32)


def _with_items(queries: Queries, item_idx: Int32, place_idx: Int32) -> Queries:
    return replace(queries, item_idx=item_idx, place_idx=place_idx)


def _reordered(
    queries: Queries, is_chosen: npt.NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Int32, Int32]:
    """Items and places with a random span before the last event shuffled; times stay."""
    item_idx, place_idx = queries.item_idx.copy(), queries.place_idx.copy()
    width = item_idx.shape[1]
    for query_row in np.flatnonzero(is_chosen).tolist():
        first = int(np.argmax(item_idx[query_row] > 0))
        end = int(rng.integers(first + 1, width))
        span = np.arange(max(first, end - _SPAN), end)
        shuffled = rng.permutation(span)
        item_idx[query_row, span], place_idx[query_row, span] = (
            item_idx[query_row, shuffled],
            place_idx[query_row, shuffled],
        )
    return item_idx, place_idx


def _keep_events(queries: Queries, is_kept: npt.NDArray[np.bool_]) -> Queries:
    """Queries of the kept events only, aligned to the right again."""
    is_event = is_kept & (queries.item_idx > 0)
    event_order = np.argsort(is_event, axis=1, kind="stable")  # what is dropped becomes padding
    is_event = np.take_along_axis(is_event, event_order, axis=1)

    def moved(column: Int32) -> Int32:
        return np.where(is_event, np.take_along_axis(column, event_order, axis=1), np.int32(0))

    times = np.take_along_axis(queries.occurred_s, event_order, axis=1)
    return replace(
        queries,
        item_idx=moved(queries.item_idx),
        place_idx=moved(queries.place_idx),
        occurred_s=np.where(is_event, times, np.int64(0)),
        utc_offset_min=moved(queries.utc_offset_min),
    )
