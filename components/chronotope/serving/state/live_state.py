"""Live state of users: events of the lake and, on top, events posted since it was read."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

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

_READ_BATCH = 10_000  # events per read of the log


class LoggedEvent(NamedTuple):
    """Event of the interaction log.

    Attributes:
        seq: Position in the log.
        event: The event.
        key: Key with which it was posted.
    """

    seq: int
    event: LiveEvent
    key: str


@dataclass(frozen=True, slots=True)
class UserState:
    """User state in the indices of one model.

    Attributes:
        user_idx: The model's index; 0 for a cold-start user.
        history: All events, unknown items included.
        log_position: Log position of the latest event that may be missing in the lake; 0
            without one. Over one version of the lake, equal positions are equal histories, in
            any process.
    """

    user_idx: int
    history: UserHistory
    log_position: int


class LiveState:
    """User histories from the lake and the interaction log.

    All serving processes share the log: each lookup of a user first reads its new records, so
    an acknowledged event counts in every process.
    """

    def __init__(
        self,
        settings: ServeSettings,
        interaction_log: InteractionLog,
        state_cache: LruCache[tuple[Any, ...], UserState],
    ) -> None:
        """Read the log up to its end.

        Args:
            settings: Defaults of the dataset.
            interaction_log: Posted events.
            state_cache: Cache of user states.
        """
        self._settings, self._interaction_log = settings, interaction_log
        self._state_cache, self._lock = state_cache, Lock()
        self._user_events: defaultdict[str, list[LoggedEvent]] = defaultdict(list)
        self._log_position = 0
        self._anomalous_keys: frozenset[str] = frozenset()
        self._ingested_version: TableVersion | None = None
        self.catch_up()

    @property
    def log_position(self) -> int:
        """Log position up to which events count."""
        return self._log_position

    @property
    def n_events(self) -> int:
        """Number of events in memory beside the lake's."""
        return sum(len(events) for events in self._user_events.values())

    def catch_up(self) -> None:
        """Read new records of the log, of any process."""
        last_position = self._interaction_log.last()  # impressions before it are not read again
        if last_position <= self._log_position:
            return
        with self._lock:
            read_until = self._read_events(self._user_events, self._log_position)
            self._log_position = max(read_until, last_position)

    def _read_events(
        self, user_events: defaultdict[str, list[LoggedEvent]], log_position: int
    ) -> int:
        """Add the log's events after a position; returns the position of the last one."""
        while records := self._interaction_log.read(log_position, _READ_BATCH, "event"):
            payloads = [record.payload for record in records]
            events = parse_live_events(payloads, self._settings)
            for record, event in zip(records, events, strict=True):
                if record.key not in self._anomalous_keys:
                    logged_event = LoggedEvent(record.seq, event, record.key)
                    user_events[record.payload[c.USER_ID]].append(logged_event)
            log_position = records[-1].seq
        return log_position

    def drop_ingested(self, loaded_champion: LoadedChampion) -> None:
        """Drop events that are in the lake by now.

        If another lake took the place of an earlier one, or it was set back, the log is read
        again: the new lake may lack events that were dropped.

        Args:
            loaded_champion: Model loaded at an earlier poll: a response over an older lake,
                still being computed, would miss the events.
        """
        version = loaded_champion.event_store.version
        if version == self._ingested_version:
            return
        lake = Lake(Workspace(self._settings.root).lake(self._settings.dataset))
        is_replaced = self._ingested_version is not None and not lake.holds(
            EVENTS, self._ingested_version
        )
        with self._lock:
            if is_replaced:
                self._reread()
            for user_id in list(self._user_events):
                user_rows = loaded_champion.event_store.user_rows(user_id)
                events = _not_in_lake(self._user_events[user_id], user_rows, loaded_champion)
                if events:
                    self._user_events[user_id] = events  # a new list: others may read the old one
                else:
                    del self._user_events[user_id]
        self._ingested_version = version

    def _reread(self) -> None:
        """Read the log from its beginning."""
        reread_events: defaultdict[str, list[LoggedEvent]] = defaultdict(list)
        self._log_position = max(self._read_events(reread_events, 0), self._log_position)
        self._user_events = reread_events

    def exclude_events(self, anomalous_keys: frozenset[str]) -> None:
        """Drop events that a label calls anomalous; those of which it no longer does come back.

        Args:
            anomalous_keys: Keys with which the events were posted.
        """
        with self._lock:
            known_keys, self._anomalous_keys = self._anomalous_keys, anomalous_keys
            if known_keys - anomalous_keys:
                self._reread()
            else:
                for user_id, events in list(self._user_events.items()):
                    if any(logged.key in anomalous_keys for logged in events):
                        self._user_events[user_id] = [
                            logged for logged in events if logged.key not in anomalous_keys
                        ]
        self._state_cache.clear()

    def drop_users(self, is_excluded: Callable[[str], bool]) -> None:
        """Drop the events of users who were erased or have opted out, and all cached states.

        Args:
            is_excluded: Whether nothing may be known of a user, by stored id.
        """
        with self._lock:
            for user_id in [name for name in self._user_events if is_excluded(name)]:
                del self._user_events[user_id]
        self._state_cache.clear()

    def user_state(self, user_id: str, loaded_champion: LoadedChampion) -> UserState:
        """State of a user, with all events posted until now to any process.

        Args:
            user_id: External id.
            loaded_champion: Model whose indices the state uses.
        """
        self.catch_up()
        user_events = self._user_events.get(user_id, [])
        log_position = user_events[-1].seq if user_events else 0
        cache_key = (user_id, log_position, *loaded_champion.cache_key)
        state = self._state_cache.get(cache_key)
        if state is None:
            # another thread may have appended since
            events = [logged for logged in user_events if logged.seq <= log_position]
            state = build_user_state(user_id, events, loaded_champion)
            self._state_cache.put(cache_key, state)
        return state

    def live_users(self) -> frozenset[str]:
        """Ids of the users with events in memory beside the lake's."""
        return frozenset(self._user_events)

    def logged_events(self, user_id: str) -> list[LoggedEvent]:
        """Events of a user read so far from the log, oldest first; for a run over all users.

        Args:
            user_id: External id.
        """
        return list(self._user_events.get(user_id, []))


def merge_history(events: list[LiveEvent], loaded_champion: LoadedChampion) -> UserHistory:
    """Events in the model's indices, ordered by time; ties stay in the order given."""
    ordered = sorted(events, key=lambda event: event.occurred_us)
    item_idx = [loaded_champion.item_idx_of.get(event.item_id, 0) for event in ordered]
    place_idx = [loaded_champion.place_idx_of.get(event.place_id or "", 0) for event in ordered]
    return UserHistory(
        np.array(item_idx, np.int32),
        np.array(item_idx if loaded_champion.items_are_places else place_idx, np.int32),
        np.array([event.occurred_us // 1_000_000 for event in ordered], np.int64),
        np.array([event.utc_offset_min for event in ordered], np.int32),
    )


def build_user_state(
    user_id: str, logged_events: list[LoggedEvent], loaded_champion: LoadedChampion
) -> UserState:
    """State of a user from the lake's events and from events posted since.

    Args:
        user_id: External id.
        logged_events: The user's events of the interaction log; those in the lake are dropped.
        loaded_champion: Model whose indices the state uses.
    """
    event_store = loaded_champion.event_store
    user_rows = event_store.user_rows(user_id)
    user_history = UserHistory(
        loaded_champion.item_idx[user_rows].copy(),  # a view would hold the whole array in memory
        loaded_champion.place_idx[user_rows].copy(),
        event_store.occurred_us[user_rows] // 1_000_000,
        event_store.utc_offset_min[user_rows].copy(),
    )
    new_events = _not_in_lake(logged_events, user_rows, loaded_champion) if logged_events else []
    if new_events:
        live_history = merge_history([logged.event for logged in new_events], loaded_champion)
        user_history = _concatenate_by_time(user_history, live_history)
    log_position = logged_events[-1].seq if logged_events else 0
    return UserState(loaded_champion.user_idx_of.get(user_id, 0), user_history, log_position)


def _not_in_lake(
    logged_events: list[LoggedEvent], user_rows: slice, loaded_champion: LoadedChampion
) -> list[LoggedEvent]:
    """Distinct events missing in the lake, by its identity: time, item and type."""
    event_store = loaded_champion.event_store
    item_ids = event_store.items.take(pa.array(event_store.item[user_rows])).to_pylist()
    event_types = event_store.kinds.take(pa.array(event_store.kind[user_rows])).to_pylist()
    lake_times_us = event_store.occurred_us[user_rows].tolist()
    lake_identities = set(zip(lake_times_us, item_ids, event_types, strict=True))
    distinct = {
        logged.event[:3]: logged for logged in reversed(logged_events)
    }  # the first one wins
    return [
        logged for identity, logged in reversed(distinct.items()) if identity not in lake_identities
    ]


def _concatenate_by_time(earlier: UserHistory, later: UserHistory) -> UserHistory:
    """Both histories in one, ordered by time; on ties the first argument comes first."""
    occurred_s = np.r_[earlier.occurred_s, later.occurred_s]
    order = np.argsort(occurred_s, kind="stable")

    def concatenate(left: Int32, right: Int32) -> Int32:
        return np.concatenate([left, right])[order]

    return UserHistory(
        concatenate(earlier.item_idx, later.item_idx),
        concatenate(earlier.place_idx, later.place_idx),
        occurred_s[order],
        concatenate(earlier.utc_offset_min, later.utc_offset_min),
    )
