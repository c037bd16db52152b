"""Intake of posted events and impressions: stored as the privacy settings let them, then scored."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from chronotope.contracts import columns as c
from chronotope.lake import Interaction, InteractionLog
from chronotope.serving.anomalies.anomaly_endpoints import ScoredEvent, ScoredReceipt
from chronotope.serving.anomalies.live_detector import LiveDetector
from chronotope.serving.api.requests import PostedEvent, PostedImpression
from chronotope.serving.api.responses import IngestReceipt
from chronotope.serving.model.watcher import ChampionWatcher
from chronotope.serving.settings import ServeSettings
from chronotope.serving.state.live_state import LiveState
from chronotope.serving.state.served_users import ServedUsers
from chronotope.serving.telemetry import Telemetry
from chronotope.spacetime.clock import utc_offsets

PostedRecord = PostedEvent | PostedImpression


class EventIntake:
    """Writer of the interaction log."""

    def __init__(
        self,
        settings: ServeSettings,
        interaction_log: InteractionLog,
        live_state: LiveState,
        live_detector: LiveDetector,
        watcher: ChampionWatcher,
        served_users: ServedUsers,
        telemetry: Telemetry,
    ) -> None:
        """Wrap the components.

        Args:
            settings: Time zone of events that come without their offset.
            interaction_log: Log that records are appended to.
            live_state: Reads new records at once.
            live_detector: Scores events.
            watcher: Holder of the champion, whose items are known.
            served_users: Pseudonyms, and who is excluded.
            telemetry: Metrics.
        """
        self._settings, self._interaction_log = settings, interaction_log
        self._live_state, self._live_detector = live_state, live_detector
        self._watcher, self._served_users, self._telemetry = watcher, served_users, telemetry

    def ingest(self, records: Sequence[PostedRecord]) -> IngestReceipt:
        """Append records to the interaction log; on return they are on disk and count.

        Records of users who have opted out or were erased are not stored.

        Args:
            records: The posted records.
        """
        stored_records = [
            stored for record in records if (stored := self._as_stored(record)) is not None
        ]
        interactions = [_interaction(record) for record in stored_records]
        resolution_min = self._served_users.users.settings.time_resolution_min
        n_new = self._interaction_log.append(interactions, resolution_min=resolution_min)
        self._live_state.catch_up()
        loaded_champion = self._watcher.loaded_or_none
        event_items = [record.item_id for record in stored_records if record.kind == "event"]
        n_unknown_items = (
            sum(item_id not in loaded_champion.item_idx_of for item_id in event_items)
            if loaded_champion
            else 0
        )
        n_impressions = len(stored_records) - len(event_items)
        for kind, n_records in (("event", len(event_items)), ("impression", n_impressions)):
            self._telemetry.interactions.labels(kind).inc(n_records)
        self._telemetry.duplicates.inc(len(stored_records) - n_new)
        receipt = IngestReceipt(
            n_received=len(records),
            n_new=n_new,
            n_unknown_items=n_unknown_items,
            n_not_stored=len(records) - len(stored_records),
        )
        logged_events = [
            posted
            for posted in interactions
            if posted.kind == "event"
            and not self._interaction_log.excludes(posted.payload[c.USER_ID])
        ]
        return self._scored(receipt, logged_events)

    def _as_stored(self, record: PostedRecord) -> PostedRecord | None:
        if isinstance(record, PostedImpression):
            return self._served_users.stored_impression(record)
        return self._served_users.stored_event(record, self._zone_offset(record.occurred_at))

    def _zone_offset(self, moment: datetime) -> int:
        """Offset of the users' time zone, minutes; 0 without a zone."""
        if self._settings.local_zone is None:
            return 0
        moment_s = np.array([int(moment.timestamp())])
        return int(utc_offsets(moment_s, self._settings.local_zone)[0])

    def _scored(self, receipt: IngestReceipt, events: list[Interaction]) -> IngestReceipt:
        """The receipt with anomaly scores, if there is a detector and something new."""
        if self._live_detector.version is None or receipt.n_new == 0:
            return receipt
        item_scores = self._live_detector.score(
            [posted.key for posted in events], [posted.payload for posted in events]
        )
        anomalies = tuple(ScoredEvent.of(event_score) for event_score in item_scores)
        return ScoredReceipt(**receipt.model_dump(), anomalies=anomalies)


def _interaction(record: PostedRecord) -> Interaction:
    payload = record.model_dump(mode="json", exclude={"kind", "key"}, exclude_none=True)
    return Interaction(key=record.key, kind=record.kind, payload=payload)
