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
        user_starts = np.searchsorted(self.item_keys, item_idx, side="left")
        ends = np.searchsorted(self.item_keys, item_idx, side="right")
        places = np.empty(len(item_idx), np.int32)
        last_item = 0
        for event_row, (start, end) in enumerate(
            zip(user_starts.tolist(), ends.tolist(), strict=True)
        ):
            own_choice = self.item_places[start:end]
            is_possible = not len(own_choice) or bool((own_choice == last_item).any())
            if not (last_item and is_possible and rng.random() < self.p_stay):
                if len(own_choice):
                    shares = self.item_cumulative[start:end]
                    column = int(np.searchsorted(shares, rng.random(), side="right"))
                    last_item = int(own_choice[min(column, len(own_choice) - 1)])
                else:
                    last_item = int(np.searchsorted(self.popular, rng.random(), side="right"))
                    last_item = min(last_item, len(self.popular) - 1)
            places[event_row] = last_item
        return places


def fit_place_choice(log: EventLog, *, min_users: int) -> PlaceChoice:
    """Count the places of a log.

    Args:
        log: The log.
        min_users: Places of an item with fewer events than this are left out.
    """
    event_rows = np.flatnonzero(log.user_start() != np.arange(len(log)))
    is_stay = log.place_idx[event_rows] == log.place_idx[event_rows - 1]
    n_places = int(log.place_idx.max()) + 1
    event_counts = np.bincount(log.place_idx, minlength=n_places).astype(np.float64)
    event_counts[0] = 0.0
    pair_keys = log.item_idx.astype(np.int64) * n_places + log.place_idx
    keys, n_times = np.unique(pair_keys[log.place_idx > 0], return_counts=True)
    keys, n_times = keys[n_times >= min_users], n_times[n_times >= min_users]
    item_keys = keys // n_places
    totals = np.bincount(item_keys, n_times) if len(keys) else np.zeros(1)
    cumulative_share = np.cumsum(n_times).astype(np.float64)
    first = np.searchsorted(item_keys, item_keys, side="left")
    item_before = np.concatenate([[0.0], cumulative_share])[first]
    return PlaceChoice(
        p_stay=float(is_stay.mean()) if len(event_rows) else 0.0,
        popular=np.cumsum(event_counts) / max(event_counts.sum(), 1.0),
        item_keys=item_keys,
        item_places=(keys % n_places).astype(np.int32),
        item_cumulative=(cumulative_share - item_before) / np.maximum(totals[item_keys], 1.0)
        if len(keys)
        else np.empty(0),
    )
