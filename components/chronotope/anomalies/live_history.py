"""Features of one event at a time, over the latest events of its user and of its item.

The same functions compute them as offline, on a log of these events alone.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from chronotope.anomalies.behaviour_features import EventLabels, FeatureTable, ItemPlaces
from chronotope.anomalies.behaviour_log import BehaviourLog, read_behaviour_log
from chronotope.anomalies.detector_files import DetectorBundle
from chronotope.anomalies.score_events import detector_features
from chronotope.contracts.event_log import EventLog, Int64
from chronotope.contracts.ids import IdMap

MAX_EVENTS: Final = 2_048
"""Latest events of a user, and of an item, that count; more would take milliseconds."""

_OWN_USER, _OTHER_USER = 1, 2
_NO_IDS: Final = IdMap.of([])


@dataclass(frozen=True, slots=True)
class BehaviourEvent:
    """What features read of an event.

    Attributes:
        user_id: User.
        item_id: Item.
        occurred_s: UTC seconds since 1970.
        utc_offset_min: Minutes to add to UTC.
        value: Amount; NaN if unknown.
        lat: Latitude, degrees; NaN if unknown.
        lon: Longitude, degrees.
    """

    user_id: str
    item_id: str
    occurred_s: int
    utc_offset_min: int = 0
    value: float = float("nan")
    lat: float = float("nan")
    lon: float = float("nan")


class LiveHistory:
    """Events of the lake by user and by item, and events that came since."""

    def __init__(
        self, events: pa.Table, label_column: str | None, posted_labels: dict[str, bool]
    ) -> None:
        """Index the events of the lake.

        Args:
            events: Columns of the event table that features read.
            label_column: Column with outcomes; None if there is none.
            posted_labels: Known outcomes by event id.
        """
        self._lake = read_behaviour_log(
            events, label_column=label_column, posted_labels=posted_labels
        )
        event_log = self._lake.log
        self._item_order = np.argsort(event_log.item_idx, kind="stable")
        self._item_start = np.searchsorted(
            event_log.item_idx[self._item_order], np.arange(self._lake.items.size + 1)
        )
        self._user_start = np.searchsorted(event_log.user_idx, np.arange(self._lake.users.size + 1))
        self._user_idx = _positions(self._lake.users)
        self._item_idx = _positions(self._lake.items)
        self._live_by_user: defaultdict[str, list[BehaviourEvent]] = defaultdict(list)
        self._live_by_item: defaultdict[str, list[BehaviourEvent]] = defaultdict(list)

    def add(self, event: BehaviourEvent) -> None:
        """Let an event count for later ones.

        Args:
            event: The event.
        """
        self._live_by_user[event.user_id].append(event)
        self._live_by_item[event.item_id].append(event)

    def holds(self, event: BehaviourEvent) -> bool:
        """Whether the lake has an event of the same user, item and second."""
        rows = self._user_rows(event.user_id)
        event_log, item_idx = self._lake.log, self._item_idx.get(event.item_id, 0)
        is_same = (event_log.occurred_s[rows] == event.occurred_s) & (
            event_log.item_idx[rows] == item_idx
        )
        return bool(item_idx and is_same.any())

    def features(self, event: BehaviourEvent, detector_bundle: DetectorBundle) -> FeatureTable:
        """Features of one event, one row.

        Args:
            event: The event; events after it do not count.
            detector_bundle: Detector that reads the features.
        """
        user_rows = self._until(self._user_rows(event.user_id), event)
        item_rows = self._until(self._item_rows(event.item_id), event)
        own_idx = self._user_idx.get(event.user_id, 0)
        item_rows = item_rows[self._lake.log.user_idx[item_rows] != own_idx]
        live_own = _until(self._live_by_user.get(event.user_id, ()), event)
        live_others = [
            other
            for other in _until(self._live_by_item.get(event.item_id, ()), event)
            if other.user_id != event.user_id
        ]
        behaviour = self._small_log(user_rows, item_rows, [*live_own, event], live_others)
        own_row = len(user_rows) + len(live_own)
        table = detector_features(detector_bundle, behaviour, is_partial=True)
        return table.take(np.array([own_row]))

    def _small_log(
        self,
        user_rows: Int64,
        item_rows: Int64,
        live_own: Sequence[BehaviourEvent],
        live_others: Sequence[BehaviourEvent],
    ) -> BehaviourLog:
        """Log of some events of the lake and some that came since; the user's come first."""
        lake_rows = np.concatenate([user_rows, item_rows])
        live_events = [*live_own, *live_others]
        event_log, labels = self._lake.log, self._lake.labels
        user_codes = np.repeat(
            [_OWN_USER, _OTHER_USER, _OWN_USER, _OTHER_USER],
            [len(user_rows), len(item_rows), len(live_own), len(live_others)],
        )
        item_codes, places = self._item_codes(lake_rows, live_events)
        occurred_s = _joined(
            event_log.occurred_s[lake_rows], [event.occurred_s for event in live_events]
        )
        no_labels = np.zeros(len(live_events))
        sort_order = np.lexsort((occurred_s, user_codes))
        small_log = EventLog.sorted(
            user_idx=user_codes,
            item_idx=item_codes,
            occurred_s=occurred_s,
            utc_offset_min=_joined(
                event_log.utc_offset_min[lake_rows],
                [event.utc_offset_min for event in live_events],
            ),
            value=_joined(event_log.value[lake_rows], [event.value for event in live_events]),
        )
        small_labels = EventLabels(
            np.concatenate([labels.is_anomalous[lake_rows], no_labels])[sort_order],
            np.concatenate([labels.is_labelled[lake_rows], no_labels > 0])[sort_order],
        )
        return BehaviourLog(small_log, sort_order, _NO_IDS, _NO_IDS, small_labels, places)

    def _item_codes(
        self, lake_rows: Int64, live_events: Sequence[BehaviourEvent]
    ) -> tuple[Int64, ItemPlaces | None]:
        """Small item indices of the events, and the coordinates of these items."""
        n_items = self._lake.items.size
        new_items = {
            event.item_id: n_items + number
            for number, event in enumerate(live_events)
            if event.item_id not in self._item_idx
        }
        live_idx = [
            self._item_idx.get(event.item_id) or new_items[event.item_id] for event in live_events
        ]
        item_idx = _joined(self._lake.log.item_idx[lake_rows], live_idx)
        known_idx, item_codes = np.unique(item_idx, return_inverse=True)
        if self._lake.places is None:
            return item_codes, None
        lat, lon = (
            np.where(known_idx < n_items, column[np.minimum(known_idx, n_items - 1)], np.nan)
            for column in (self._lake.places.lat, self._lake.places.lon)
        )
        posted_lat, posted_lon = {}, {}
        for number, event in zip(live_idx, live_events, strict=True):
            if not np.isnan(event.lat):
                posted_lat[number], posted_lon[number] = event.lat, event.lon
        for position, number in enumerate(known_idx.tolist()):
            if np.isnan(lat[position]) and number in posted_lat:
                lat[position], lon[position] = posted_lat[number], posted_lon[number]
        return item_codes, ItemPlaces(lat, lon)

    def _user_rows(self, user_id: str) -> Int64:
        user_idx = self._user_idx.get(user_id, 0)
        end = int(self._user_start[user_idx + 1]) if user_idx else 0
        start = int(self._user_start[user_idx]) if user_idx else 0
        return np.arange(max(start, end - MAX_EVENTS), end)

    def _item_rows(self, item_id: str) -> Int64:
        item_idx = self._item_idx.get(item_id, 0)
        if not item_idx:
            return np.zeros(0, dtype=np.int64)
        rows = self._item_order[self._item_start[item_idx] : self._item_start[item_idx + 1]]
        times_s = self._lake.log.occurred_s[rows]
        if len(rows) > MAX_EVENTS:
            rows = rows[np.argpartition(times_s, len(rows) - MAX_EVENTS)[-MAX_EVENTS:]]
        return np.sort(rows)

    def _until(self, rows: Int64, event: BehaviourEvent) -> Int64:
        return rows[self._lake.log.occurred_s[rows] <= event.occurred_s]


def _positions(ids: IdMap) -> dict[str, int]:
    return {name: number for number, name in enumerate(ids.ids.to_pylist(), start=1)}


def _until(events: Sequence[BehaviourEvent], event: BehaviourEvent) -> list[BehaviourEvent]:
    return [other for other in events[-MAX_EVENTS:] if other.occurred_s <= event.occurred_s]


def _joined(lake_values: np.ndarray, live_values: Sequence[float]) -> np.ndarray:
    return np.concatenate([lake_values, np.asarray(live_values, dtype=lake_values.dtype)])
