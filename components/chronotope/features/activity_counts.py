"""Counts of all users' events in windows that end at a moment: what is discovered just now.

Counting them is cheap, so they follow the log while other priors wait for a training.
"""

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class ActivitySums:
    """Counts of some users' events before a moment.

    Attributes:
        events: Events of each item in each window, shape (len(WINDOWS_DAYS), n_items).
        first_events: First events in each window, shape (len(WINDOWS_DAYS), n_items).
        n_users: First events at any time, shape (n_items,).
        n_active: Users with an event in the last ``ACTIVE_DAYS``.
        first_s: UTC seconds of the first event of each item, shape (n_items,).
    """

    events: npt.NDArray[np.int64]
    first_events: npt.NDArray[np.int64]
    n_users: npt.NDArray[np.int64]
    n_active: int
    first_s: npt.NDArray[np.int64]

    def __add__(self, other: "ActivitySums") -> "ActivitySums":
        """Counts of both groups of users, which have no user in common."""
        return ActivitySums(
            self.events + other.events,
            self.first_events + other.first_events,
            self.n_users + other.n_users,
            self.n_active + other.n_active,
            np.minimum(self.first_s, other.first_s),
        )

    def rows(self, item_category: Integers, moment_s: int) -> Float32:
        """Inputs of the graph, shape (len(ACTIVITY_NAMES), n_items).

        Rows of events are log(1 + 2 x), ``users_left`` is the log of the share of active users who
        never had the item, ``category_events`` the log of the events of the item's category in
        the longest window, ``age`` log(1 + weeks since the first event).

        Args:
            item_category: Category of each item, shape (n_items,).
            moment_s: UTC seconds of the moment.
        """
        category_events = np.bincount(
            item_category, self.events[-1], int(item_category.max(initial=0)) + 1
        )
        rows = [
            *np.log1p(2.0 * self.events),
            *np.log1p(2.0 * self.first_events),
            np.log1p(2.0 * self.n_users),
            np.log(np.maximum(1.0 - self.n_users / max(1, self.n_active), MIN_USERS_LEFT)),
            np.log1p(category_events)[item_category],
            np.log1p(np.maximum(moment_s - self.first_s, 0) / (7.0 * DAY_S)),
        ]
        return np.stack(rows).astype(np.float32)


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
        """Counts of each item, shape (len(ACTIVITY_NAMES), n_items); see ``ActivitySums.rows``.

        Args:
            moment_s: UTC seconds; events from then on are not counted.
        """
        return self.sums_at(moment_s).rows(self._category, moment_s)

    def sums_at(self, moment_s: int) -> "ActivitySums":
        """Counts of each item as sums, which add up over disjoint groups of users.

        Args:
            moment_s: UTC seconds; events from then on are not counted.
        """
        windows = [self._window(moment_s, days) for days in WINDOWS_DAYS]
        return ActivitySums(
            np.stack([self._count(window) for window in windows]),
            np.stack([self._count(window, first_only=True) for window in windows]),
            self._count(self._window(moment_s, None), first_only=True),
            len(np.unique(self._user[self._window(moment_s, ACTIVE_DAYS)])),
            self._first_s,
        )

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
