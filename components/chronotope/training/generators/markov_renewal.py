"""Markov-renewal generator: what, when and where of users who were never there.

A new user has a tempo, a start and a number of events. Each gap is drawn given the hour of the
week (``gap_law``), each item given the user's past and the hour (``item_law``), each place given
the last one and the item.

Source: Markov renewal processes (Pyke, 1961); exploration and preferential return (Song, Koren,
Wang and Barabási, 2010).
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from chronotope.contracts.event_log import Catalog, EventLog, Float32, Float64, Int32
from chronotope.training.generators.event_generator import MIN_USERS, UserEvents, as_log
from chronotope.training.generators.gap_law import GapLaw, fit_gap_law
from chronotope.training.generators.item_law import ItemLaw, Moment, fit_item_law
from chronotope.training.generators.place_choice import PlaceChoice, fit_place_choice
from chronotope.training.generators.return_choice import HISTORY_LEN, Past
from chronotope.training.generators.user_profiles import (
    Profile,
    UserPopulation,
    fit_profiles,
    tempo_classes,
)

_MIN_VALUES: Final = 10


@dataclass(frozen=True, slots=True)
class MarkovRenewal:
    """A fitted process.

    Attributes:
        profiles: Who the users are.
        gaps: When the next event is.
        items: What it is.
        places: Where it is; None where items are places, or the log has no places.
        items_are_places: Whether the place is the item.
        item_value_mean, item_value_std: Values of the events by item, NaN if unknown, (n_items,).
    """

    profiles: UserPopulation
    gaps: GapLaw
    items: ItemLaw
    places: PlaceChoice | None
    items_are_places: bool
    item_value_mean: Float32
    item_value_std: Float32

    @classmethod
    def fit(
        cls, log: EventLog, catalog: Catalog, *, min_users: int = MIN_USERS, seed: int = 0
    ) -> Self:
        """Fit all laws on a log.

        Args:
            log: The log.
            catalog: Coordinates of its items.
            min_users: Items and transitions of fewer users are never generated.
            seed: Seed of sampled events.
        """
        classes = tempo_classes(log)
        value_mean, value_std = _item_values(log, catalog.n_items)
        has_places = not catalog.items_are_places and bool((log.place_idx > 0).any())
        return cls(
            fit_profiles(log, classes),
            fit_gap_law(log, classes),
            fit_item_law(log, catalog, min_users=min_users, seed=seed),
            fit_place_choice(log, min_users=min_users) if has_places else None,
            catalog.items_are_places,
            value_mean,
            value_std,
        )

    def generate(self, n_users: int, seed: int) -> EventLog:
        """Events of new users 1 to n_users, in the indices of the fitted log."""
        user_list = []
        for user_number in range(n_users):
            random_generator = np.random.default_rng([seed, user_number])
            user_list.append(self._user(self.profiles.draw(random_generator), random_generator))
        return as_log(user_list)

    def _user(self, profile: Profile, rng: np.random.Generator) -> UserEvents:
        """Events of one user, until the wanted number or the end of the log."""
        items, local_s, times_s = np.zeros((3, profile.n_events), np.int64)
        step_s, offset_s = self.gaps.resolution_s, 60 * profile.utc_offset_min
        now_s = (profile.start_s + offset_s) // step_s * step_s - offset_s
        n_events, gap_s = 0, 0
        while n_events < profile.n_events and now_s < self.profiles.end_s:
            event_rows = slice(max(0, n_events - HISTORY_LEN), n_events)
            past, event_moment = (
                Past(items[event_rows], local_s[event_rows]),
                Moment(now_s + offset_s, now_s, gap_s),
            )
            items[n_events] = self.items.draw(past, n_events, event_moment, rng)
            local_s[n_events], times_s[n_events] = now_s + offset_s, now_s
            next_s = self.gaps.next_time(now_s, profile.utc_offset_min, profile.tempo_class, rng)
            n_events, gap_s, now_s = n_events + 1, next_s - now_s, next_s
        item_idx = items[:n_events].astype(np.int32)
        return UserEvents(
            item_idx,
            self._places(item_idx, rng),
            times_s[:n_events],
            profile.utc_offset_min,
            self._values(item_idx, rng),
        )

    def _places(self, item_idx: Int32, rng: np.random.Generator) -> Int32:
        if self.places is not None:
            return self.places.draw(item_idx, rng)
        return item_idx if self.items_are_places else np.zeros_like(item_idx)

    def _values(self, item_idx: Int32, rng: np.random.Generator) -> Float32:
        noise: Float64 = rng.standard_normal(len(item_idx))
        values = self.item_value_mean[item_idx] + noise * self.item_value_std[item_idx]
        return values.astype(np.float32)


def _item_values(log: EventLog, n_items: int) -> tuple[Float32, Float32]:
    """Mean and standard deviation of the values of each item; rare items take those of all."""
    known = ~np.isnan(log.value)
    if not known.any():
        missing = np.full(n_items, np.nan, np.float32)
        return missing, missing
    items, values = log.item_idx[known], log.value[known].astype(np.float64)
    event_counts = np.bincount(items, minlength=n_items)
    mean = np.bincount(items, values, n_items) / np.maximum(event_counts, 1)
    square = np.bincount(items, values**2, n_items) / np.maximum(event_counts, 1)
    is_rare = event_counts < _MIN_VALUES
    std = np.sqrt(np.maximum(square - mean**2, 0.0))
    mean, std = np.where(is_rare, values.mean(), mean), np.where(is_rare, values.std(), std)
    return mean.astype(np.float32), std.astype(np.float32)
