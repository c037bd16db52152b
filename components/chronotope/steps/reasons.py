"""Why an item is recommended, told from what can be counted."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from chronotope.artifact.bundle import Vocabulary
from chronotope.contracts.eventlog import Int64
from chronotope.steps.crowd import RECENT, Crowd
from chronotope.steps.past import Past


def tell_reasons(chosen: Int64, past: Past, crowd: Crowd, words: Vocabulary) -> Iterator[str]:
    """A reason for each chosen item: the user's own past, else what others did.

    Args:
        chosen: Indices of the items.
        past: The user's events.
        crowd: What everybody did of late.
        words: Ids and titles.
    """
    last_idx = int(past.item_idx[-1]) if len(past) else 0
    follows = crowd.follows(last_idx)
    for item in chosen:
        own = np.flatnonzero(past.item_idx == item)
        if len(own):
            local_s = int(past.occurred_s[own[-1]]) + 60 * int(past.utc_offset_min[own[-1]])
            last = _EPOCH + timedelta(seconds=local_s)  # the user's own calendar
            link = "on" if len(own) == 1 else "last on"
            yield f"you had it {_times(len(own))}, {link} {last:%Y-%m-%d}"
        elif (follows == item).any():
            yield f"follows {words.titles[last_idx] or words.items.name(last_idx)}"
        elif crowd.counts[item]:
            yield f"popular: {_times(int(crowd.counts[item]))} in {RECENT.days} days"
        else:
            yield "new to you"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
