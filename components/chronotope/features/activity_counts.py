"""Counts of all users' events in windows that end at a moment: what is discovered just now.

Counting them is cheap, so they follow the log while other priors wait for a training.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float32

DAY_S: Final = 86_400
ACTIVE_DAYS: Final = 56
"""Users with an event in so many days are those who could discover an item."""

WINDOWS_DAYS: Final = (1, 7, 28)

ACTIVITY_NAMES: Final = (
    *(f"events_{days}d" for days in WINDOWS_DAYS),
    *(f"first_events_{days}d" for days in WINDOWS_DAYS),
    "first_events",
    "users_left",
    "category_events",
    "age",
)
"""Rows of the counts; a first event is a user's first one of an item."""

MIN_USERS_LEFT: Final = 0.02
"""Lower bound of the share of users without an item."""

Integers = npt.NDArray[np.integer]


class ActivityCounter:
    """Live counts of a log at any moment: events in time order, read in windows."""

    def __init__(
        self,
        user_idx: Integers,
        item_idx: Integers,
        occurred_s: Integers,
        item_category: Integers,
    ) -> None:
        """Order the events by time and mark the first of each user and item.

        Args:
            user_idx: User of each event, shape (n_events,); events by user, then time.
            item_idx: Item of each event, shape (n_events,).
            occurred_s: UTC seconds, shape (n_events,).
            item_category: Category of each item, shape (n_items,).
        """
        self._category, self._n_items = item_category, len(item_category)
        order = np.argsort(occurred_s, kind="stable")
        self._second, self._item = occurred_s[order], item_idx[order]
        self._user = user_idx[order]
        self._is_first = _is_first_event(user_idx, item_idx, self._n_items)[order]
        self._first_s = np.full(self._n_items, np.iinfo(np.int64).max)
        np.minimum.at(self._first_s, item_idx, occurred_s)

    def at(self, moment_s: int) -> Float32:
        """Counts of each item, shape (len(ACTIVITY_NAMES), n_items).

        Rows of events are log(1 + 2 x), ``users_left`` is the log of the share of active users who
        never had the item, ``category_events`` the log of the events of the item's category in
        the longest window, ``age`` log(1 + weeks since the first event).

        Args:
            moment_s: UTC seconds; events from then on are not counted.
        """
        windows = [self._window(moment_s, days) for days in WINDOWS_DAYS]
        n_users = self._count(self._window(moment_s, None), first_only=True)
        n_active = max(1, len(np.unique(self._user[self._window(moment_s, ACTIVE_DAYS)])))
        category_events = np.bincount(
            self._category[self._item[windows[-1]]],
            minlength=int(self._category.max(initial=0)) + 1,
        )
        age_s = np.maximum(moment_s - self._first_s, 0)
        rows = [
            *(np.log1p(2.0 * self._count(window)) for window in windows),
            *(np.log1p(2.0 * self._count(window, first_only=True)) for window in windows),
            np.log1p(2.0 * n_users),
            np.log(np.maximum(1.0 - n_users / n_active, MIN_USERS_LEFT)),
            np.log1p(category_events)[self._category],
            np.log1p(age_s / (7.0 * DAY_S)),
        ]
        return np.stack(rows).astype(np.float32)

    def _window(self, moment_s: int, days: int | None) -> slice:
        """Events of the days before a moment; None: all events before it."""
        end = int(np.searchsorted(self._second, moment_s))
        if days is None:
            return slice(0, end)
        return slice(int(np.searchsorted(self._second, moment_s - days * DAY_S)), end)

    def _count(self, window: slice, *, first_only: bool = False) -> npt.NDArray[np.int64]:
        """Events of each item in a window, or first events alone, shape (n_items,)."""
        items = self._item[window]
        if first_only:
            items = items[self._is_first[window]]
        return np.bincount(items, minlength=self._n_items)


def _is_first_event(user_idx: Integers, item_idx: Integers, n_items: int) -> npt.NDArray[np.bool_]:
    """Whether each event is its user's first of the item, shape (n_events,)."""
    pairs = user_idx.astype(np.int64) * n_items + item_idx
    is_first = np.zeros(len(pairs), dtype=np.bool_)
    is_first[np.unique(pairs, return_index=True)[1]] = True
    return is_first
