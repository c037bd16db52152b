"""Activity of all users as a sum over the buckets of a lake.

Reasons and the graph's live counts depend on all users, scores of a user on nothing else of
them. So each bucket is counted by itself, and the sums are those of the whole log.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from chronotope.contracts.event_log import Float32, Int32, Int64
from chronotope.features.activity_counts import ActivityCounter, ActivitySums
from chronotope.inference.recent_activity import RecentActivity
from chronotope.serving.state.event_store import EventStore


@dataclass(frozen=True, slots=True)
class RecentCounts:
    """Recent events of some users, as numbers that add up over disjoint groups of users.

    Attributes:
        item_events, item_users: Events and users of each item, shape (n_items,).
        pair_keys: ``earlier * n_items + next`` of items that came right after another, ascending.
        pair_events, pair_users: Occurrences and users of each pair, shape (n_pairs,).
    """

    item_events: Int64
    item_users: Int64
    pair_keys: Int64
    pair_events: Int64
    pair_users: Int64

    @classmethod
    def from_events(cls, user_idx: Int32, item_idx: Int32, n_items: int) -> Self:
        """Count events that are ordered by user and time.

        Args:
            user_idx: Index of the user of each event, shape (n,).
            item_idx: Indices of the items, shape (n,).
            n_items: Number of item indices.
        """
        is_pair = user_idx[1:] == user_idx[:-1]
        keys = item_idx[:-1][is_pair].astype(np.int64) * n_items + item_idx[1:][is_pair]
        pair_keys, pair_codes = np.unique(keys, return_inverse=True)
        user_items = np.unique(user_idx.astype(np.int64) * n_items + item_idx)
        pair_owners = np.unique(np.stack([pair_codes, user_idx[1:][is_pair]]), axis=1)
        return cls(
            np.bincount(item_idx, minlength=n_items),
            np.bincount(user_items % n_items, minlength=n_items),
            pair_keys,
            np.bincount(pair_codes, minlength=len(pair_keys)),
            np.bincount(pair_owners[0], minlength=len(pair_keys)),
        )

    @classmethod
    def total(cls, parts: Iterable["RecentCounts"]) -> Self:
        """Sum over groups of users.

        Args:
            parts: At least one.
        """
        groups = list(parts)
        keys = np.concatenate([part.pair_keys for part in groups])
        pair_keys, codes = np.unique(keys, return_inverse=True)
        pair_sums = [
            np.bincount(codes, np.concatenate(values), len(pair_keys)).astype(np.int64)
            for values in (
                [part.pair_events for part in groups],
                [part.pair_users for part in groups],
            )
        ]
        return cls(
            np.sum([part.item_events for part in groups], axis=0),
            np.sum([part.item_users for part in groups], axis=0),
            pair_keys,
            *pair_sums,
        )

    def activity(self, min_users: int) -> RecentActivity:
        """The activity, with successors in the order of their items.

        Args:
            min_users: Users that an item or a succession of two items needs to be counted.
        """
        n_items, is_shared = len(self.item_events), self.pair_users >= min_users
        pairs = np.repeat(self.pair_keys[is_shared], self.pair_events[is_shared])
        starts = np.searchsorted(pairs, np.arange(n_items + 1) * n_items)
        item_counts = np.where(self.item_users >= min_users, self.item_events, 0)
        return RecentActivity(item_counts, starts, (pairs % n_items).astype(np.int32))


@dataclass(frozen=True, slots=True)
class BucketActivity:
    """Activity of the users of one bucket.

    Attributes:
        recent: Recent events.
        live: Counts that the graph reads; None if it reads none.
    """

    recent: RecentCounts
    live: ActivitySums | None


@dataclass(frozen=True, slots=True)
class GlobalActivity:
    """Activity of all users.

    Attributes:
        recent: Recent events, for reasons.
        live: Counts that the graph reads, shape (n_counts, n_items); None if it reads none.
    """

    recent: RecentActivity
    live: Float32 | None

    def to_bytes(self) -> bytes:
        """Arrays in numpy's format."""
        arrays: dict[str, Any] = {
            "counts": self.recent.counts,
            "pair_start": self.recent.pair_start,
            "pair_next": self.recent.pair_next,
        }
        if self.recent.ended_on is not None:
            arrays["ended_on"] = np.datetime64(self.recent.ended_on, "D")
        if self.live is not None:
            arrays["live"] = self.live
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Activity from ``to_bytes``; nothing is unpickled.

        Args:
            content: The bytes.
        """
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            ended_on = arrays["ended_on"].item() if "ended_on" in arrays else None
            recent = RecentActivity(
                arrays["counts"], arrays["pair_start"], arrays["pair_next"], ended_on
            )
            return cls(recent, arrays.get("live"))


def count_bucket(
    event_store: EventStore,
    item_idx: Int32,
    window_us: tuple[int, int],
    category_idx: Int32,
    live_until_s: int | None,
) -> BucketActivity:
    """Activity of the users of a bucket.

    Args:
        event_store: Events of the bucket.
        item_idx: The model's index of each event's item, shape (n_events,).
        window_us: Start and end of the recent period, UTC microseconds.
        category_idx: Category of each item of the model, shape (n_items,).
        live_until_s: Moment of the graph's live counts; None if it reads none.
    """
    occurred_us, user = event_store.occurred_us, event_store.user
    in_window = (occurred_us >= window_us[0]) & (occurred_us < window_us[1])
    n_items = len(category_idx)
    recent = RecentCounts.from_events(user[in_window], item_idx[in_window], n_items)
    if live_until_s is None:
        return BucketActivity(recent, None)
    is_known = item_idx > 0
    counter = ActivityCounter(
        user[is_known], item_idx[is_known], occurred_us[is_known] // 1_000_000, category_idx
    )
    return BucketActivity(recent, counter.sums_at(live_until_s))


def sum_buckets(
    parts: Iterable[BucketActivity], category_idx: Int32, min_users: int, live_until_s: int | None
) -> GlobalActivity:
    """Activity of all users.

    Args:
        parts: Activity of every bucket.
        category_idx: Category of each item of the model, shape (n_items,).
        min_users: Users that an item or a succession of two items needs to be counted.
        live_until_s: Moment of the graph's live counts; None if it reads none.
    """
    recent_parts, live = [], None
    for part in parts:
        recent_parts.append(part.recent)
        if part.live is not None:
            live = part.live if live is None else live + part.live
    recent = RecentCounts.total(recent_parts).activity(min_users)
    if live is None or live_until_s is None:
        return GlobalActivity(recent, None)
    return GlobalActivity(recent, live.rows(category_idx, live_until_s))
