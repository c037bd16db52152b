"""What users did since the lake was read: an event that was posted counts at once."""

from collections import defaultdict
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.eventlog import Int32
from chronotope.lake import InteractionLog
from chronotope.serving.live_events import LiveEvent, live_events
from chronotope.serving.lru import LruCache
from chronotope.serving.opened import Opened
from chronotope.serving.settings import ServeSettings
from chronotope.steps.past import Past

_CHUNK = 10_000  # events read at a time


@dataclass(frozen=True, slots=True)
class UserState:
    """A user as one champion sees them.

    Attributes:
        user_idx: The champion's index; 0 for a stranger.
        past: All events, unknown items included.
        n_live: Events told to the service since it knows the user.
    """

    user_idx: int
    past: Past
    n_live: int


class LiveState:
    """Users' pasts: the lake's events and, on top, those of the interaction log."""

    def __init__(
        self,
        settings: ServeSettings,
        log: InteractionLog,
        cache: LruCache[tuple[Any, ...], UserState],
    ) -> None:
        """Read the log up to its end.

        Args:
            settings: What the dataset fills in.
            log: The interaction log.
            cache: Keeps states that are asked for again.
        """
        self._settings, self._log, self._cache, self._lock = settings, log, cache, Lock()
        self._events: defaultdict[str, list[LiveEvent]] = defaultdict(list)
        self._seen = 0
        self.catch_up()

    @property
    def seen(self) -> int:
        """Position in the log up to which events count."""
        return self._seen

    def catch_up(self) -> None:
        """Take in what the log has got since, whoever wrote it."""
        with self._lock:
            last = self._log.last()  # impressions up to it need not be passed again
            while found := self._log.read(self._seen, _CHUNK, "event"):
                told = [stored.payload for stored in found]
                for payload, event in zip(told, live_events(told, self._settings), strict=True):
                    self._events[payload[c.USER_ID]].append(event)
                self._seen = found[-1].seq
            self._seen = max(self._seen, last)

    def of(self, user_id: str, opened: Opened) -> UserState:
        """A user's state, with all that was posted until now."""
        live = self._events.get(user_id, [])
        key = (user_id, len(live), *opened.key)
        found = self._cache.get(key)
        if found is None:
            found = _state(user_id, live[: key[1]], opened)
            self._cache.put(key, found)
        return found


def past_of(events: list[LiveEvent], opened: Opened) -> Past:
    """Events as the champion sees them; the earlier ones first, then as given."""
    ordered = sorted(events, key=lambda event: event.occurred_us)
    items = [opened.item_of.get(event.item_id, 0) for event in ordered]
    places = [opened.place_of.get(event.place_id or "", 0) for event in ordered]
    return Past(
        np.array(items, np.int32),
        np.array(items if opened.items_are_places else places, np.int32),
        np.array([event.occurred_us // 1_000_000 for event in ordered], np.int64),
        np.array([event.utc_offset_min for event in ordered], np.int32),
    )


def _state(user_id: str, live: list[LiveEvent], opened: Opened) -> UserState:
    rows = opened.histories.rows_of(user_id)
    told = opened.histories
    past = Past(
        opened.item_idx[rows].copy(),  # a view would keep the whole lake's arrays alive
        opened.place_idx[rows].copy(),
        told.occurred_us[rows] // 1_000_000,
        told.utc_offset_min[rows].copy(),
    )
    new = _not_in_lake(live, rows, opened) if live else []
    if new:
        past = _merged(past, past_of(new, opened))
    return UserState(opened.user_of.get(user_id, 0), past, len(live))


def _not_in_lake(live: list[LiveEvent], rows: slice, opened: Opened) -> list[LiveEvent]:
    """Each event once: by what, when and of which type, as the lake tells events apart."""
    told = opened.histories
    items = told.items.take(pa.array(told.item[rows])).to_pylist()
    kinds = told.kinds.take(pa.array(told.kind[rows])).to_pylist()
    seen = set(zip(told.occurred_us[rows].tolist(), items, kinds, strict=True))
    distinct = {event[:3]: event for event in reversed(live)}  # of equals the first one stays
    return [event for key, event in reversed(distinct.items()) if key not in seen]


def _merged(left: Past, right: Past) -> Past:
    order = np.argsort(np.r_[left.occurred_s, right.occurred_s], kind="stable")

    def both(one: Int32, other: Int32) -> Int32:
        return np.concatenate([one, other])[order]

    return Past(
        both(left.item_idx, right.item_idx),
        both(left.place_idx, right.place_idx),
        np.concatenate([left.occurred_s, right.occurred_s])[order],
        both(left.utc_offset_min, right.utc_offset_min),
    )
