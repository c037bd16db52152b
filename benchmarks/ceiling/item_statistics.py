"""Counts of the items over all users: before the end of the training, and live."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from chronotope.contracts.event_log import EventLog, Float64, Int64

DAY_S: Final = 86_400
_TIME_RANGE: Final = 1 << 34
"""Seconds that an item's keys are apart: more than any UTC time."""

LIVE_DAYS: Final = (3, 7, 14, 28, 91)
"""Windows of the live counts, days."""


@dataclass(frozen=True, slots=True)
class ItemStatistics:
    """What is known of each item from the purchases of all users.

    Attributes:
        log_popularity: log(1 + events) before the end of the training, shape (n_items,).
        repeat_rate: Share of its users who bought it again, shape (n_items,).
        interval_days: Usual days between two purchases of one user, shape (n_items,).
        category_interval_days: The same of categories, shape (n_categories,).
        time_keys: Item and time of every event of the log, increasing, shape (n_events,).
    """

    log_popularity: Float64
    repeat_rate: Float64
    interval_days: Float64
    category_interval_days: Float64
    time_keys: Int64

    @classmethod
    def count(cls, log: EventLog, train_end_s: int, item_category: Int64) -> Self:
        """Count a log; all but the live counts end at ``train_end_s``.

        Args:
            log: All events.
            train_end_s: End of the training, UTC seconds.
            item_category: Category of each item, shape (n_items,).
        """
        past, n_items = log.before(train_end_s), len(item_category)
        pairs = past.user_idx.astype(np.int64) * n_items + past.item_idx
        distinct_pairs, pair_counts = np.unique(pairs, return_counts=True)
        pair_item = distinct_pairs % n_items
        n_users = np.bincount(pair_item, minlength=n_items)
        n_repeating = np.bincount(pair_item[pair_counts > 1], minlength=n_items)
        item_idx = past.item_idx.astype(np.int64)
        n_categories = int(item_category.max()) + 1
        return cls(
            log_popularity=np.log1p(np.bincount(item_idx, minlength=n_items)),
            repeat_rate=(n_repeating + 2.0) / (n_users + 6.0),
            interval_days=_usual_interval(past, item_idx, n_items),
            category_interval_days=_usual_interval(past, item_category[item_idx], n_categories),
            time_keys=np.sort(log.item_idx.astype(np.int64) * _TIME_RANGE + log.occurred_s),
        )

    def live_columns(self, items: Int64, request_s: int) -> dict[str, Float64]:
        """Events of items just before a moment and their trends, shape (n_items,) each.

        Args:
            items: Item indices, shape (n_items,).
            request_s: The moment, UTC seconds.
        """
        keys = items * _TIME_RANGE + request_s
        before = np.searchsorted(self.time_keys, keys)
        counts = {
            days: (before - np.searchsorted(self.time_keys, keys - days * DAY_S)).astype(float)
            for days in LIVE_DAYS
        }
        columns = {f"live.count_{days}d": values for days, values in counts.items()}
        return columns | {
            "live.trend_3d": np.log((counts[3] + 1) / (counts[28] * 3 / 28 + 1)),
            "live.trend_7d": np.log((counts[7] + 2) / (counts[91] / 13 + 2)),
            "live.trend_28d": np.log((counts[28] + 4) / (counts[91] * 28 / 91 + 4)),
        }


def _usual_interval(past: EventLog, group: Int64, n_groups: int) -> Float64:
    """Mean days between events of one user in one group, shrunk to 20 days, (n_groups,)."""
    order = np.lexsort((past.occurred_s, group, past.user_idx))
    user, sorted_group, seconds = past.user_idx[order], group[order], past.occurred_s[order]
    waited_days = np.diff(seconds) / DAY_S
    is_pair = (user[1:] == user[:-1]) & (sorted_group[1:] == sorted_group[:-1]) & (waited_days > 0)
    pair_group = sorted_group[1:][is_pair]
    total_days = np.bincount(pair_group, waited_days[is_pair], minlength=n_groups)
    shrunk: Float64 = (total_days + 100.0) / (np.bincount(pair_group, minlength=n_groups) + 5.0)
    return shrunk
