"""Where: the place of an event, given the last place and the item."""

from dataclasses import dataclass

import numpy as np

from chronotope.contracts.event_log import EventLog, Float64, Int32, Int64


@dataclass(frozen=True, slots=True)
class PlaceChoice:
    """Distribution of the next place.

    Attributes:
        p_stay: Probability that the place is the last one.
        popular: Cumulative popularity of the places, shape (n_places,).
        item_keys, item_places, item_cumulative: Cumulative shares of the places of each item, as
            runs of equal keys, shape (n,) each.
    """

    p_stay: float
    popular: Float64
    item_keys: Int64
    item_places: Int32
    item_cumulative: Float64

    def draw(self, item_idx: Int32, rng: np.random.Generator) -> Int32:
        """Places of a user's events in order of time, shape (n,).

        Args:
            item_idx: Items of the events, shape (n,).
            rng: Source of the draws.
        """
        starts = np.searchsorted(self.item_keys, item_idx, side="left")
        ends = np.searchsorted(self.item_keys, item_idx, side="right")
        places = np.empty(len(item_idx), np.int32)
        last = 0
        for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            own = self.item_places[start:end]
            is_possible = not len(own) or bool((own == last).any())
            if not (last and is_possible and rng.random() < self.p_stay):
                if len(own):
                    shares = self.item_cumulative[start:end]
                    column = int(np.searchsorted(shares, rng.random(), side="right"))
                    last = int(own[min(column, len(own) - 1)])
                else:
                    last = int(np.searchsorted(self.popular, rng.random(), side="right"))
                    last = min(last, len(self.popular) - 1)
            places[row] = last
        return places


def fit_place_choice(log: EventLog, *, min_users: int) -> PlaceChoice:
    """Count the places of a log.

    Args:
        log: The log.
        min_users: Places of an item with fewer events than this are left out.
    """
    rows = np.flatnonzero(log.user_start() != np.arange(len(log)))
    is_stay = log.place_idx[rows] == log.place_idx[rows - 1]
    n_places = int(log.place_idx.max()) + 1
    counts = np.bincount(log.place_idx, minlength=n_places).astype(np.float64)
    counts[0] = 0.0
    pairs = log.item_idx.astype(np.int64) * n_places + log.place_idx
    keys, n_times = np.unique(pairs[log.place_idx > 0], return_counts=True)
    keys, n_times = keys[n_times >= min_users], n_times[n_times >= min_users]
    item_keys = keys // n_places
    totals = np.bincount(item_keys, n_times) if len(keys) else np.zeros(1)
    cumulative = np.cumsum(n_times).astype(np.float64)
    first = np.searchsorted(item_keys, item_keys, side="left")
    before = np.concatenate([[0.0], cumulative])[first]
    return PlaceChoice(
        p_stay=float(is_stay.mean()) if len(rows) else 0.0,
        popular=np.cumsum(counts) / max(counts.sum(), 1.0),
        item_keys=item_keys,
        item_places=(keys % n_places).astype(np.int32),
        item_cumulative=(cumulative - before) / np.maximum(totals[item_keys], 1.0)
        if len(keys)
        else np.empty(0),
    )
