"""What users did since the lake was read: an event that was posted counts at once."""

from collections import defaultdict
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.data_version import EVENTS, TableVersion
from chronotope.contracts.event_log import Int32
from chronotope.inference.history import UserHistory
from chronotope.lake import InteractionLog, Lake
from chronotope.runtime.workspace import Workspace
from chronotope.serving.model.loaded import LoadedChampion
from chronotope.serving.settings import ServeSettings
from chronotope.serving.state.live_events import LiveEvent, parse_live_events
from chronotope.serving.state.lru_cache import LruCache

_CHUNK = 10_000  # events read at a time


EventArrays = tuple[int, LiveEvent]
"""An event and its position in the log."""


@dataclass(frozen=True, slots=True)
class UserState:
    """A user as one champion sees them.

    Attributes:
        user_idx: The champion's index; 0 for a stranger.
        past: All events, unknown items included.
        told_until: Position in the log of the latest event that is not known to be in the lake;
            0 without one. Over one version of the lake, equal positions are equal pasts, in
            whatever process.
    """

    user_idx: int
    past: UserHistory
    told_until: int


class LiveState:
    """Users' pasts: the lake's events and, on top, those of the interaction log.

    The log is the one truth for every process that serves: each look for a user first takes in
    what the log has got since, so an event counts for all of them once it is acknowledged.
    """

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
        self._told: defaultdict[str, list[EventArrays]] = defaultdict(list)
        self._seen = 0
        self._lake_until: TableVersion | None = None
        self.catch_up()

    @property
    def seen(self) -> int:
        """Position in the log up to which events count."""
        return self._seen

    @property
    def n_events(self) -> int:
        """Events held beside the lake's."""
        return sum(len(told) for told in self._told.values())

    def catch_up(self) -> None:
        """Take in what the log has got since, whoever wrote it."""
        last = self._log.last()  # impressions up to it need not be passed again
        if last <= self._seen:
            return
        with self._lock:
            self._seen = max(self._read_into(self._told, self._seen), last)

    def _read_into(self, told: defaultdict[str, list[EventArrays]], seen: int) -> int:
        """Add the log's events after a position; returns the position of the last one."""
        while found := self._log.read(seen, _CHUNK, "event"):
            payloads = [stored.payload for stored in found]
            events = parse_live_events(payloads, self._settings)
            for stored, event in zip(found, events, strict=True):
                told[stored.payload[c.USER_ID]].append((stored.seq, event))
            seen = found[-1].seq
        return seen

    def forget(self, opened: LoadedChampion) -> None:
        """Let go of the events that the lake has by now.

        What an earlier lake had is read from the log again if another lake took its place, or
        if it was set back: this one may lack it.

        Args:
            opened: Has answered for a while: an answer over an older lake, still under way,
                would miss them.
        """
        version = opened.histories.version
        if version == self._lake_until:
            return
        lake = Lake(Workspace(self._settings.root).lake(self._settings.dataset))
        replaced = self._lake_until is not None and not lake.holds(EVENTS, self._lake_until)
        with self._lock:
            if replaced:
                again: defaultdict[str, list[EventArrays]] = defaultdict(list)
                self._seen = max(self._read_into(again, 0), self._seen)
                self._told = again
            for user_id in list(self._told):
                rows = opened.histories.rows_of(user_id)
                kept = _not_in_lake(self._told[user_id], rows, opened)
                if kept:
                    self._told[user_id] = kept  # another list: somebody may be reading this one
                else:
                    del self._told[user_id]
        self._lake_until = version

    def of(self, user_id: str, opened: LoadedChampion) -> UserState:
        """A user's state, with all that was posted until now, to whatever process."""
        self.catch_up()
        told = self._told.get(user_id, [])
        told_until = told[-1][0] if told else 0
        key = (user_id, told_until, *opened.key)
        found = self._cache.get(key)
        if found is None:
            until = [each for each in told if each[0] <= told_until]
            found = _state(user_id, until, opened)
            self._cache.put(key, found)
        return found


def merge_history(events: list[LiveEvent], opened: LoadedChampion) -> UserHistory:
    """Events as the champion sees them; the earlier ones first, then as given."""
    ordered = sorted(events, key=lambda event: event.occurred_us)
    items = [opened.item_of.get(event.item_id, 0) for event in ordered]
    places = [opened.place_of.get(event.place_id or "", 0) for event in ordered]
    return UserHistory(
        np.array(items, np.int32),
        np.array(items if opened.items_are_places else places, np.int32),
        np.array([event.occurred_us // 1_000_000 for event in ordered], np.int64),
        np.array([event.utc_offset_min for event in ordered], np.int32),
    )


def _state(user_id: str, live: list[EventArrays], opened: LoadedChampion) -> UserState:
    rows = opened.histories.rows_of(user_id)
    told = opened.histories
    past = UserHistory(
        opened.item_idx[rows].copy(),  # a view would keep the whole lake's arrays alive
        opened.place_idx[rows].copy(),
        told.occurred_us[rows] // 1_000_000,
        told.utc_offset_min[rows].copy(),
    )
    new = _not_in_lake(live, rows, opened) if live else []
    if new:
        past = _merged(past, merge_history([event for _, event in new], opened))
    return UserState(opened.user_of.get(user_id, 0), past, live[-1][0] if live else 0)


def _not_in_lake(live: list[EventArrays], rows: slice, opened: LoadedChampion) -> list[EventArrays]:
    """Each event once: by what, when and of which type, as the lake tells events apart."""
    told = opened.histories
    items = told.items.take(pa.array(told.item[rows])).to_pylist()
    kinds = told.kinds.take(pa.array(told.kind[rows])).to_pylist()
    seen = set(zip(told.occurred_us[rows].tolist(), items, kinds, strict=True))
    distinct = {each[1][:3]: each for each in reversed(live)}  # of equals the first one stays
    return [each for key, each in reversed(distinct.items()) if key not in seen]


def _merged(left: UserHistory, right: UserHistory) -> UserHistory:
    order = np.argsort(np.r_[left.occurred_s, right.occurred_s], kind="stable")

    def both(one: Int32, other: Int32) -> Int32:
        return np.concatenate([one, other])[order]

    return UserHistory(
        both(left.item_idx, right.item_idx),
        both(left.place_idx, right.place_idx),
        np.concatenate([left.occurred_s, right.occurred_s])[order],
        both(left.utc_offset_min, right.utc_offset_min),
    )
