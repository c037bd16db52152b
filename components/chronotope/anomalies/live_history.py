"""Features of one event at a time, over the latest events of its user and of its item.

The same functions compute them as offline, on a log of these events alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from chronotope.anomalies.behaviour_features import EventLabels, FeatureTable, ItemPlaces
from chronotope.anomalies.behaviour_log import BehaviourLog, read_behaviour_log
from chronotope.anomalies.detector_files import DetectorBundle
from chronotope.anomalies.live_surprise import LiveSurprise, PastEvent
from chronotope.anomalies.recommender_surprise import N_ITEM_RUN
from chronotope.anomalies.score_events import known_features, reads_recommender
from chronotope.contracts.event_log import EventLog, Int64
from chronotope.contracts.ids import IdMap

MAX_EVENTS: Final = 2_048
"""Latest events of a user, and of an item, that count; more would take milliseconds."""

MAX_READ: Final = 256
"""Latest events of a user that a recommender reads at most."""

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
        self,
        events: pa.Table,
        label_column: str | None,
        posted_labels: dict[str, bool],
        recommender_dir: Path | None = None,
    ) -> None:
        """Index the events of the lake.

        Args:
            events: Columns of the event table that features read.
            label_column: Column with outcomes; None if there is none.
            posted_labels: Known outcomes by event id.
            recommender_dir: Bundle of the recommender that the detector reads; None without.
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
        self._user_ids: list[str] = self._lake.users.ids.to_pylist()
        self._surprise = (
            None if recommender_dir is None else LiveSurprise(self._lake, recommender_dir)
        )
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
        row_positions = self._user_rows(event.user_id)
        event_log, item_idx = self._lake.log, self._item_idx.get(event.item_id, 0)
        is_same = (event_log.occurred_s[row_positions] == event.occurred_s) & (
            event_log.item_idx[row_positions] == item_idx
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
        small_behaviour = self._small_log(user_rows, item_rows, [*live_own, event], live_others)
        own_row = len(user_rows) + len(live_own)
        table = known_features(detector_bundle, small_behaviour, is_partial=True)
        table = table.take(np.array([own_row]))
        if self._surprise is not None and reads_recommender(detector_bundle):
            table = table.joined(self._surprise_features(self._surprise, event))
        return table.select(detector_bundle.detector.feature_names)

    def _surprise_features(
        self, live_surprise: LiveSurprise, event: BehaviourEvent
    ) -> FeatureTable:
        """How unlikely an event is to the recommender of the detector."""
        past_event = self._live_past(event)
        item_rows = self._until(self._item_rows(event.item_id), event)
        live_of_item = _until(self._live_by_item.get(event.item_id, ()), event)
        lake_of_item = [self._lake_past(row) for row in self._latest(item_rows)]
        item_run = _in_time_order(lake_of_item, map(self._live_past, live_of_item))
        user_run = self._past_events(event.user_id, event.occurred_s + 1)
        return live_surprise.features(past_event, user_run, item_run, self._past_events)

    def _past_events(self, user_id: str, before_s: int) -> list[PastEvent]:
        """The latest events of a user before a time, in time order."""
        rows = self._user_rows(user_id)
        rows = rows[self._lake.log.occurred_s[rows] < before_s][-MAX_READ:]
        live_events = [
            event for event in self._live_by_user.get(user_id, ()) if event.occurred_s < before_s
        ]
        lake_events = [self._lake_past(row) for row in rows.tolist()]
        return _in_time_order(lake_events, map(self._live_past, live_events[-MAX_READ:]))

    def _latest(self, rows: Int64) -> list[int]:
        """The last rows in time order, as many as a run of an item has."""
        time_order = np.argsort(self._lake.log.occurred_s[rows], kind="stable")
        return list(rows[time_order][-N_ITEM_RUN:].tolist())

    def _lake_past(self, row: int) -> PastEvent:
        event_log = self._lake.log
        return PastEvent(
            self._user_ids[event_log.user_idx[row] - 1],
            int(event_log.item_idx[row]),
            int(event_log.occurred_s[row]),
            int(event_log.utc_offset_min[row]),
        )

    def _live_past(self, event: BehaviourEvent) -> PastEvent:
        item_idx = self._item_idx.get(event.item_id, 0)
        return PastEvent(event.user_id, item_idx, event.occurred_s, event.utc_offset_min)

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
            event.item_id: n_items + item_number
            for item_number, event in enumerate(live_events)
            if event.item_id not in self._item_idx
        }
        live_idx = [
            self._item_idx.get(event.item_id) or new_items[event.item_id] for event in live_events
        ]
        item_idx = _joined(self._lake.log.item_idx[lake_rows], live_idx)
        known_idx, item_codes = np.unique(item_idx, return_inverse=True)
        if self._lake.places is None:
            return item_codes, None
        lat_deg, lon_deg = (
            np.where(known_idx < n_items, column[np.minimum(known_idx, n_items - 1)], np.nan)
            for column in (self._lake.places.lat, self._lake.places.lon)
        )
        posted_lat, posted_lon = {}, {}
        for item_number, event in zip(live_idx, live_events, strict=True):
            if not np.isnan(event.lat):
                posted_lat[item_number], posted_lon[item_number] = event.lat, event.lon
        for code_position, item_number in enumerate(known_idx.tolist()):
            if np.isnan(lat_deg[code_position]) and item_number in posted_lat:
                lat_deg[code_position], lon_deg[code_position] = (
                    posted_lat[item_number],
                    posted_lon[item_number],
                )
        return item_codes, ItemPlaces(lat_deg, lon_deg)

    def _user_rows(self, user_id: str) -> Int64:
        user_idx = self._user_idx.get(user_id, 0)
        end_position = int(self._user_start[user_idx + 1]) if user_idx else 0
        start_position = int(self._user_start[user_idx]) if user_idx else 0
        return np.arange(max(start_position, end_position - MAX_EVENTS), end_position)

    def _item_rows(self, item_id: str) -> Int64:
        item_idx = self._item_idx.get(item_id, 0)
        if not item_idx:
            return np.zeros(0, dtype=np.int64)
        row_positions = self._item_order[
            self._item_start[item_idx] : self._item_start[item_idx + 1]
        ]
        times_s = self._lake.log.occurred_s[row_positions]
        if len(row_positions) > MAX_EVENTS:
            row_positions = row_positions[
                np.argpartition(times_s, len(row_positions) - MAX_EVENTS)[-MAX_EVENTS:]
            ]
        return np.sort(row_positions)

    def _until(self, row_positions: Int64, event: BehaviourEvent) -> Int64:
        return row_positions[self._lake.log.occurred_s[row_positions] <= event.occurred_s]


def _positions(ids: IdMap) -> dict[str, int]:
    return {name: item_number for item_number, name in enumerate(ids.ids.to_pylist(), start=1)}


def _until(events: Sequence[BehaviourEvent], event: BehaviourEvent) -> list[BehaviourEvent]:
    return [other for other in events[-MAX_EVENTS:] if other.occurred_s <= event.occurred_s]


def _in_time_order(
    lake_events: list[PastEvent], live_events: Iterable[PastEvent]
) -> list[PastEvent]:
    """Events of the lake and of the service; those of one second in this order."""
    return sorted([*lake_events, *live_events], key=lambda past_event: past_event.occurred_s)


def _joined(lake_values: np.ndarray, live_values: Sequence[float]) -> np.ndarray:
    return np.concatenate([lake_values, np.asarray(live_values, dtype=lake_values.dtype)])
