"""Why an item is recommended, told from what can be counted."""

from collections.abc import Iterator
from datetime import date

import numpy as np

from chronotope.artifact.bundle import Vocabulary
from chronotope.contracts.event_log import Int64
from chronotope.inference.history import UserHistory
from chronotope.inference.recent_activity import RECENT, RecentActivity


def explain_items(
    chosen: Int64, past: UserHistory, crowd: RecentActivity, words: Vocabulary
) -> Iterator[str]:
    """A reason for each chosen item: the user's own past, else what others did.

    Args:
        chosen: Indices of the items.
        past: The user's events.
        crowd: What everybody did of late.
        words: Ids and titles.
    """
    last_idx = int(past.item_idx[-1]) if len(past) else 0
    n_own, latest_s = _own(chosen, past)
    n_recent = crowd.counts[chosen].tolist()
    followed = (crowd.follows(last_idx)[:, None] == chosen).any(axis=0).tolist()
    for n, n_mine in enumerate(n_own):
        if n_mine:
            link = "on" if n_mine == 1 else "last on"
            yield f"you had it {_times(n_mine)}, {link} {_day(latest_s[n])}"
        elif followed[n]:
            yield f"follows {words.titles[last_idx] or words.items.name(last_idx)}"
        elif n_recent[n]:
            yield f"popular: {_times(n_recent[n])} in {RECENT.days} days"
        else:
            yield "new to you"


def _own(chosen: Int64, past: UserHistory) -> tuple[list[int], list[int]]:
    """How often the user had each item, and the latest time in seconds of the own clock."""
    rows, slots = np.nonzero(past.item_idx[:, None] == chosen)  # by row: the latest one stays
    latest_s = np.zeros(len(chosen), np.int64)
    latest_s[slots] = past.occurred_s[rows] + 60 * past.utc_offset_min[rows].astype(np.int64)
    return np.bincount(slots, minlength=len(chosen)).tolist(), latest_s.tolist()


_EPOCH_DAY = date(1970, 1, 1).toordinal()


def _day(local_s: int) -> date:
    return date.fromordinal(_EPOCH_DAY + local_s // 86_400)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
