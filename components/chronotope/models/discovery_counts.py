"""Counts of all users that rank items for a user who never had them.

``activity`` holds windows that end now: counting them is cheap, so they can follow the log while
all other priors wait for a training. ``affinity`` holds the strongest weights of EASE.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.models.baselines.ease import Ease, EaseConfig

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
"""Rows of ``activity``; a first event is a user's first one of an item."""

N_AFFINE: Final = 32
"""Items with the strongest EASE weights that are stored for each item."""

MAX_AFFINE_ITEMS: Final = 5_000
"""Most popular items among which EASE is solved; the cost is cubic in them."""

MIN_USERS_LEFT: Final = 0.02
"""Lower bound of the share of users without an item."""


class ActivityCounter:
    """Live counts of a log at any moment: events in time order, read in windows."""

    def __init__(self, log: EventLog, catalog: Catalog) -> None:
        """Order the events by time and mark the first of each user and item.

        Args:
            log: All events.
            catalog: Categories of the items.
        """
        order = np.argsort(log.occurred_s, kind="stable")
        self._catalog = catalog
        self._second, self._item = log.occurred_s[order], log.item_idx[order]
        self._user = log.user_idx[order]
        self._is_first = _is_first_event(log, catalog.n_items)[order]
        self._first_s = np.full(catalog.n_items, np.iinfo(np.int64).max)
        np.minimum.at(self._first_s, log.item_idx, log.occurred_s)

    def at(self, moment_s: int) -> Tensor:
        """Counts of each item, float32, shape (len(ACTIVITY_NAMES), n_items).

        Rows of events are log(1 + 2 x), ``users_left`` is the log of the share of active users who
        never had the item, ``category_events`` the log of the events of the item's category in
        the longest window, ``age`` log(1 + weeks since the first event).

        Args:
            moment_s: UTC seconds; events from then on are not counted.
        """
        n_items, item_category = self._catalog.n_items, self._catalog.item_category
        windows = [self._window(moment_s, days) for days in WINDOWS_DAYS]
        every = self._window(moment_s, None)
        n_users = self._count(every, first_only=True)
        active = self._window(moment_s, ACTIVE_DAYS)
        n_active = max(1, len(np.unique(self._user[active])))
        category = item_category[self._item[windows[-1]]]
        category_events = np.bincount(category, minlength=self._catalog.categories.size)
        age_s = np.maximum(moment_s - self._first_s, 0)
        rows = [
            *(np.log1p(2.0 * self._count(window)) for window in windows),
            *(np.log1p(2.0 * self._count(window, first_only=True)) for window in windows),
            np.log1p(2.0 * n_users),
            np.log(np.maximum(1.0 - n_users / n_active, MIN_USERS_LEFT)),
            np.log1p(category_events)[item_category],
            np.log1p(age_s / (7.0 * DAY_S)),
        ]
        return torch.from_numpy(np.stack(rows).astype(np.float32)).view(-1, n_items)

    def _window(self, moment_s: int, days: int | None) -> slice:
        """Events of the days before a moment; None: all events before it."""
        end = int(np.searchsorted(self._second, moment_s))
        if days is None:
            return slice(0, end)
        return slice(int(np.searchsorted(self._second, moment_s - days * DAY_S)), end)

    def _count(self, window: slice, *, first_only: bool = False) -> np.ndarray:
        """Events of each item in a window, or first events alone, shape (n_items,)."""
        items = self._item[window]
        if first_only:
            items = items[self._is_first[window]]
        return np.bincount(items, minlength=self._catalog.n_items)


def count_activity(log: EventLog, catalog: Catalog) -> Tensor:
    """Live counts after the last event of a log, shape (len(ACTIVITY_NAMES), n_items).

    Args:
        log: All events before the moment.
        catalog: Categories of the items.
    """
    return ActivityCounter(log, catalog).at(int(log.occurred_s.max(initial=0)) + 1)


def count_affinity(log: EventLog, catalog: Catalog) -> tuple[Tensor, Tensor]:
    """Items with the strongest EASE weights of each item, and the weights.

    Args:
        log: Events that are fitted.
        catalog: Size of the catalogue.

    Returns:
        Item indices, int64, and positive weights, float32, 0 where there are fewer; both of
        shape (n_items, N_AFFINE), strongest first.
    """
    ease = Ease(EaseConfig(max_items=MAX_AFFINE_ITEMS)).fit(log, catalog)
    fitted_items, weights = ease.fitted_weights()  # (n,), (n, n)
    n_columns = min(N_AFFINE, len(fitted_items))
    top_weights, top_columns = torch.topk(weights, n_columns, dim=1)
    affine_items = torch.zeros(catalog.n_items, N_AFFINE, dtype=torch.int64)
    affine_weights = torch.zeros(catalog.n_items, N_AFFINE)
    affine_items[fitted_items, :n_columns] = fitted_items[top_columns]
    affine_weights[fitted_items, :n_columns] = top_weights.clamp(min=0.0)
    return affine_items, affine_weights


def no_affinity(n_items: int) -> tuple[Tensor, Tensor]:
    """Tables without columns, for a network that does not read them."""
    return torch.zeros(n_items, 0, dtype=torch.int64), torch.zeros(n_items, 0)


def _is_first_event(log: EventLog, n_items: int) -> np.ndarray:
    """Whether each event is its user's first of the item, shape (n_events,)."""
    pairs = log.user_idx.astype(np.int64) * n_items + log.item_idx
    is_first = np.zeros(len(log), dtype=np.bool_)
    is_first[np.unique(pairs, return_index=True)[1]] = True
    return is_first
