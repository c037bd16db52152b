"""Reasons of recommended items: the user's history, content like it, and recent activity."""

import re
from collections.abc import Iterator
from datetime import date

import numpy as np

from chronotope.artifact.bundle import Vocabulary
from chronotope.contracts.event_log import Int64
from chronotope.inference.history import UserHistory
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.inference.recent_activity import RECENT, RecentActivity

_SEPARATORS = re.compile(r"\s*[|,;/>]\s*")
"""Characters between the parts of a category, as in ``Comedy|Drama``."""

_SHOWN_PARTS = 3
"""Common parts of two categories that a reason names."""


def explain_items(
    item_idx: Int64,
    history: UserHistory,
    activity: RecentActivity,
    vocabulary: Vocabulary,
    metadata: ItemMetadata,
) -> Iterator[str]:
    """Reason of each item: the user's own history, an item like it, or all users' activity.

    Args:
        item_idx: Indices of the items, shape (k,).
        history: The user's events.
        activity: Recent activity of all users.
        vocabulary: Ids and titles.
        metadata: Categories, and likeness by content.
    """
    last_idx = int(history.item_idx[-1]) if len(history) else 0
    n_own, latest_s = _count_own_events(item_idx, history)
    n_recent = activity.counts[item_idx].tolist()
    is_successor = (activity.follows(last_idx)[:, None] == item_idx).any(axis=0).tolist()
    alike_idx = _alike_items(item_idx, history, metadata)
    for slot, n_events in enumerate(n_own):
        if n_events:
            link = "on" if n_events == 1 else "last on"
            yield f"you had it {_times(n_events)}, {link} {_local_date(latest_s[slot])}"
        elif is_successor[slot]:
            yield f"follows {vocabulary.titles[last_idx] or vocabulary.items.name(last_idx)}"
        elif alike_idx[slot]:
            n_alike = int((history.item_idx == alike_idx[slot]).sum())
            name = vocabulary.titles[alike_idx[slot]] or vocabulary.items.name(alike_idx[slot])
            common = _common_parts(int(item_idx[slot]), alike_idx[slot], metadata)
            yield f"like {name}, which you had {_times(n_alike)}{common}"
        elif n_recent[slot]:
            yield f"popular: {_times(n_recent[slot])} in {_period(activity)}"
        else:
            yield "new to you"


def _period(activity: RecentActivity) -> str:
    """The period of the counts, with its end where that is long before the request."""
    days = f"{RECENT.days} days"
    return days if activity.ended_on is None else f"the {days} before {activity.ended_on}"


def _alike_items(item_idx: Int64, history: UserHistory, metadata: ItemMetadata) -> list[int]:
    """For each item the one of the history that is like it in content; 0 if none is."""
    if metadata.likeness is None:
        return [0] * len(item_idx)
    own_items = np.unique(history.item_idx).astype(np.int64)
    alike_idx: list[int] = metadata.likeness.closest(item_idx, own_items[own_items > 0]).tolist()
    return alike_idx


def _common_parts(item_idx: int, other_idx: int, metadata: ItemMetadata) -> str:
    """What two items have in common by their categories, such as ``: both Comedy, Drama``."""
    both_idx = np.array([item_idx, other_idx])
    categories = metadata.categories.names(metadata.category_idx[both_idx])
    first, second = (_SEPARATORS.split(category or "") for category in categories)
    common = [part for part in first if part and part in second]
    is_predicted = any(value is not None for value in metadata.confidences(both_idx))
    mark = " (predicted)" if is_predicted else ""
    return f": both {', '.join(common[:_SHOWN_PARTS])}{mark}" if common else ""


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
