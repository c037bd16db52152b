"""Reasons of recommended items, from counts of the user's history and of recent activity."""

from collections.abc import Iterator
from datetime import date

import numpy as np

from chronotope.artifact.bundle import Vocabulary
from chronotope.contracts.event_log import Int64
from chronotope.inference.history import UserHistory
from chronotope.inference.recent_activity import RECENT, RecentActivity


def explain_items(
    item_idx: Int64, history: UserHistory, activity: RecentActivity, vocabulary: Vocabulary
) -> Iterator[str]:
    """Reason of each item: the user's own history, else the activity of all users.

    Args:
        item_idx: Indices of the items, shape (k,).
        history: The user's events.
        activity: Recent activity of all users.
        vocabulary: Ids and titles.
    """
    last_idx = int(history.item_idx[-1]) if len(history) else 0
    n_own, latest_s = _count_own_events(item_idx, history)
    n_recent = activity.counts[item_idx].tolist()
    is_successor = (activity.follows(last_idx)[:, None] == item_idx).any(axis=0).tolist()
    for slot, n_events in enumerate(n_own):
        if n_events:
            link = "on" if n_events == 1 else "last on"
            yield f"you had it {_times(n_events)}, {link} {_local_date(latest_s[slot])}"
        elif is_successor[slot]:
            yield f"follows {vocabulary.titles[last_idx] or vocabulary.items.name(last_idx)}"
        elif n_recent[slot]:
            yield f"popular: {_times(n_recent[slot])} in {RECENT.days} days"
        else:
            yield "new to you"


def _count_own_events(item_idx: Int64, history: UserHistory) -> tuple[list[int], list[int]]:
    """Number of the user's events of each item, and the latest local time, seconds."""
    # pairs are ordered by event, so the latest event of an item is written last
    event_rows, item_slots = np.nonzero(history.item_idx[:, None] == item_idx)  # (n_events, k)
    latest_s = np.zeros(len(item_idx), np.int64)
    offset_s = 60 * history.utc_offset_min[event_rows].astype(np.int64)
    latest_s[item_slots] = history.occurred_s[event_rows] + offset_s
    return np.bincount(item_slots, minlength=len(item_idx)).tolist(), latest_s.tolist()


_EPOCH_DAY = date(1970, 1, 1).toordinal()


def _local_date(local_s: int) -> date:
    return date.fromordinal(_EPOCH_DAY + local_s // 86_400)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
