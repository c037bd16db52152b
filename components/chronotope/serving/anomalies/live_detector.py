"""Champion detector of a service: scores posted events over the lake and the interaction log."""

import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np

from chronotope.anomalies.detector import explain_events
from chronotope.anomalies.detector_files import DetectorBundle, load_detector
from chronotope.anomalies.live_history import BehaviourEvent, LiveHistory
from chronotope.anomalies.score_events import BEHAVIOUR_COLUMNS, LABEL_COLUMN_FACT
from chronotope.contracts import columns as c
from chronotope.contracts.data_version import EVENTS, TableVersion
from chronotope.contracts.event_log import Float64
from chronotope.lake import InteractionLog, Lake
from chronotope.lake.anomaly_alerts import AnomalyAlerts, FlaggedEvent
from chronotope.lake.event_labels import read_event_labels
from chronotope.registry.champion_lookup import read_champion_record
from chronotope.registry.version_files import local_version_folder
from chronotope.runtime.workspace import Workspace
from chronotope.serving.settings import ServeSettings

_LOG = logging.getLogger(__name__)

_READ_BATCH: Final = 10_000
N_RECENT_SCORES: Final = 2_000
"""Latest scores that the drift of the scores is measured on."""

MIN_DRIFT_SCORES: Final = 200


@dataclass(frozen=True, slots=True)
class EventScore:
    """Score of one posted event.

    Attributes:
        key: Key with which it was posted.
        surprise: -log p among the training events.
        is_flagged: Whether it lies beyond the threshold.
        is_alert: Whether it is also within the alert budget of its day.
        reasons: Features that raise a flagged score, the strongest first.
    """

    key: str
    surprise: float
    is_flagged: bool
    is_alert: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScoreDrift:
    """Latest scores beside those of the training events.

    Attributes:
        n_scores: Number of latest scores.
        flagged_share: Share of them beyond the threshold.
        expected_share: Largest share that the threshold was learned for.
        distance: Kolmogorov-Smirnov distance of their p-values from the uniform distribution.
        has_drifted: Whether the distance is beyond that of noise (5 %) and at least .1.
    """

    n_scores: int
    flagged_share: float
    expected_share: float
    distance: float
    has_drifted: bool


@dataclass(frozen=True, slots=True)
class _LoadedDetector:
    version: str
    lake_version: TableVersion | None
    bundle: DetectorBundle
    history: LiveHistory
    lock: Lock


class LiveDetector:
    """Scores events as they are posted; without a champion detector it does nothing."""

    def __init__(self, settings: ServeSettings, interaction_log: InteractionLog) -> None:
        """Open the log of flagged events; the detector is loaded by ``refresh``.

        Args:
            settings: Settings of the service.
            interaction_log: Posted events.
        """
        root_workspace = Workspace(settings.root)
        self._settings, self._interaction_log = settings, interaction_log
        self._workspace, self._lake = root_workspace, Lake(root_workspace.lake(settings.dataset))
        self.alerts = AnomalyAlerts(root_workspace.anomaly_alerts(settings.dataset))
        self._loaded: _LoadedDetector | None = None
        self._recent: deque[float] = deque(maxlen=N_RECENT_SCORES)

    @property
    def version(self) -> str | None:
        """Version of the detector in use; None without one."""
        return None if self._loaded is None else self._loaded.version

    def refresh(self) -> None:
        """Load a new champion detector or a new version of the lake; an error is logged."""
        try:
            self._refresh()
        except Exception as error:  # the polling thread must survive any error
            _LOG.warning("The anomaly detector cannot be loaded: %s", error)

    def score(self, keys: Sequence[str], payloads: Sequence[dict[str, Any]]) -> list[EventScore]:
        """Score events that were posted; each counts for the next.

        Args:
            keys: Keys of the events.
            payloads: The events as the interaction log holds them.
        """
        loaded_detector = self._loaded
        if loaded_detector is None:
            return []
        with loaded_detector.lock:
            return [
                self._score_one(loaded_detector, key, payload)
                for key, payload in zip(keys, payloads, strict=True)
            ]

    def drift(self) -> ScoreDrift | None:
        """Drift of the latest scores; None without a detector or with few scores."""
        loaded_detector, recent_scores = self._loaded, np.array(self._recent)
        if loaded_detector is None or len(recent_scores) < MIN_DRIFT_SCORES:
            return None
        return score_drift(recent_scores, loaded_detector.bundle)

    def close(self) -> None:
        """Close the log of flagged events."""
        self.alerts.close()

    def _score_one(
        self, loaded_detector: _LoadedDetector, key: str, payload: dict[str, Any]
    ) -> EventScore:
        event, threshold = behaviour_event(payload), loaded_detector.bundle.threshold
        event_features = loaded_detector.history.features(event, loaded_detector.bundle)
        surprise = float(loaded_detector.bundle.detector.surprise(event_features)[0])
        loaded_detector.history.add(event)
        self._recent.append(surprise)
        if surprise <= threshold.surprise:
            return EventScore(key, surprise, False, False, ())
        (event_reasons,) = explain_events(loaded_detector.bundle.detector, event_features)
        reason_names = tuple(reason.feature for reason in event_reasons)
        flagged_event = FlaggedEvent(
            key,
            event.user_id,
            event.item_id,
            event.occurred_s,
            surprise,
            reason_names,
            None if math.isnan(event.lat) else event.lat,
            None if math.isnan(event.lon) else event.lon,
        )
        is_alert = self.alerts.add(flagged_event, threshold.alerts_per_day)
        return EventScore(key, surprise, True, is_alert, reason_names)

    def _refresh(self) -> None:
        dataset, mlruns_dir = self._settings.dataset, self._workspace.mlruns
        champion_record = read_champion_record(mlruns_dir, f"{dataset}-anomaly")
        if champion_record is None or not self._lake.exists(EVENTS):
            return
        lake_version = self._lake.table_version(EVENTS)
        loaded_detector = self._loaded
        is_same = loaded_detector is not None and (
            loaded_detector.version,
            loaded_detector.lake_version,
        ) == (
            champion_record.version,
            lake_version,
        )
        if is_same:
            return
        detector_dir = local_version_folder(champion_record.source, Path(mlruns_dir) / "fetched")
        bundle = load_detector(detector_dir)
        user_history = self._read_history(bundle)
        self._loaded = _LoadedDetector(
            champion_record.version, lake_version, bundle, user_history, Lock()
        )

    def _read_history(self, bundle: DetectorBundle) -> LiveHistory:
        """Events of the lake, and those of the interaction log that it does not have."""
        column_names = set(self._lake.dataset(EVENTS).schema.names)
        label_column = bundle.facts.get(LABEL_COLUMN_FACT) or ""
        names = [name for name in (*BEHAVIOUR_COLUMNS, label_column) if name in column_names]
        labels_path = self._workspace.event_labels(self._settings.dataset)
        user_history = LiveHistory(
            self._lake.read(EVENTS, columns=names),
            label_column or None,
            read_event_labels(labels_path),
            bundle.recommender_dir,
        )
        log_position = 0
        while records := self._interaction_log.read(log_position, _READ_BATCH, "event"):
            for logged in records:
                event = behaviour_event(logged.payload)
                if not user_history.holds(event):
                    user_history.add(event)
            log_position = records[-1].seq
        return user_history


def behaviour_event(payload: dict[str, Any]) -> BehaviourEvent:
    """What features read of an event of the interaction log.

    Args:
        payload: The event.
    """
    occurred_at = datetime.fromisoformat(payload[c.OCCURRED_AT])
    event_numbers = {
        name: float("nan") if payload.get(name) is None else float(payload[name])
        for name in (c.VALUE, c.LAT, c.LON)
    }
    return BehaviourEvent(
        payload[c.USER_ID],
        payload[c.ITEM_ID],
        int(occurred_at.timestamp()),
        int(payload.get(c.UTC_OFFSET_MIN) or 0),
        **event_numbers,
    )


def score_drift(recent_surprise: Float64, bundle: DetectorBundle) -> ScoreDrift:
    """Latest scores beside the training events, whose p-values are uniform.

    Args:
        recent_surprise: -log p of the latest events, shape (n,).
        bundle: The detector, with the rate that its threshold was learned for.
    """
    n_scores = len(recent_surprise)
    p_values = np.sort(np.exp(-recent_surprise))
    rank_shares = np.arange(1, n_scores + 1) / n_scores
    distance = float(
        max(
            np.abs(rank_shares - p_values).max(),
            np.abs(rank_shares - 1 / n_scores - p_values).max(),
        )
    )
    return ScoreDrift(
        n_scores,
        float((recent_surprise > bundle.threshold.surprise).mean()),
        bundle.threshold.false_alarm_rate,
        distance,
        distance > max(0.1, 1.36 / math.sqrt(n_scores)),
    )
