"""Why an item is recommended, told from what can be counted."""

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pyarrow as pa

from chronotope.artifact.bundle import Vocabulary
from chronotope.contracts import columns as c
from chronotope.contracts.eventlog import Int64
from chronotope.steps.past import RECENT, Crowd


def tell_reasons(
    chosen: Int64, history: pa.Table, crowd: Crowd, words: Vocabulary, last_idx: int
) -> Iterator[str]:
    """A reason for each chosen item: the user's own past, else what others did.

    Args:
        chosen: Indices of the items.
        history: The user's events, oldest first.
        crowd: What everybody did of late.
        words: Ids and titles.
        last_idx: The user's latest item; 0 without one.
    """
    past = words.items.index(history[c.ITEM_ID])
    for item in chosen:
        own = np.flatnonzero(past == item)
        if len(own):
            row = int(own[-1])
            offset = timedelta(minutes=history[c.UTC_OFFSET_MIN][row].as_py() or 0)
            last = history[c.OCCURRED_AT][row].as_py() + offset  # the user's own calendar
            link = "on" if len(own) == 1 else "last on"
            yield f"you had it {_times(len(own))}, {link} {last:%Y-%m-%d}"
        elif crowd.follows[item]:
            yield f"follows {words.titles[last_idx] or words.items.name(last_idx)}"
        elif crowd.counts[item]:
            yield f"popular: {_times(int(crowd.counts[item]))} in {RECENT.days} days"
        else:
            yield "new to you"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
