"""Features of one event at a time equal those of the whole log."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from chronotope.anomalies.alert_threshold import AlertThreshold
from chronotope.anomalies.behaviour_features import behaviour_features, risk_features
from chronotope.anomalies.behaviour_log import read_behaviour_log
from chronotope.anomalies.config import DetectorConfig, TreesConfig
from chronotope.anomalies.count_recommender import count_recommender
from chronotope.anomalies.detector_files import DetectorBundle, load_detector, save_detector
from chronotope.anomalies.fit_detectors import make_detector
from chronotope.anomalies.live_history import BehaviourEvent, LiveHistory
from chronotope.anomalies.recommender_surprise import (
    behaviour_catalog,
    open_recommender,
    recommender_features,
    with_places,
)
from chronotope.anomalies.score_events import detector_features, score_new_events

N_EVENTS = 1_500


@pytest.fixture(scope="module")
def events() -> pa.Table:
    """Payments of 30 users at 12 shops over 60 days, in the order of time."""
    rng = np.random.default_rng(2)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    seconds = np.sort(rng.choice(60 * 86_400, N_EVENTS, replace=False))
    shop = rng.integers(0, 12, N_EVENTS)
    return pa.table(
        {
            "event_id": [f"e{number}" for number in range(N_EVENTS)],
            "user_id": [f"u{number}" for number in rng.integers(0, 30, N_EVENTS)],
            "item_id": [f"i{number}" for number in shop],
            "occurred_at": pa.array(
                [start + timedelta(seconds=int(second)) for second in seconds],
                pa.timestamp("us", tz="UTC"),
            ),
            "value": rng.normal(20, 5, N_EVENTS),
            "lat": 48 + shop / 100,
            "lon": 16 + shop / 50,
            "is_fraud": [str(number) for number in (rng.random(N_EVENTS) < 0.1).astype(int)],
        }
    )


@pytest.fixture(scope="module")
def bundle(events: pa.Table) -> DetectorBundle:
    behaviour = read_behaviour_log(events, label_column="is_fraud")
    features = behaviour_features(behaviour.log, behaviour.places, typical_value=20.0)
    risk = risk_features(behaviour.log, behaviour.labels, delay_days=7)
    detector = make_detector("supervised", DetectorConfig(trees=TreesConfig(n_trees=5)))
    fitted = detector.fit(features.joined(risk), behaviour.labels)
    return DetectorBundle(fitted, 20.0, 7, AlertThreshold(3.0, 0.01, 0.95, 10), 0)


def as_event(row: dict[str, object]) -> BehaviourEvent:
    return BehaviourEvent(
        user_id=str(row["user_id"]),
        item_id=str(row["item_id"]),
        occurred_s=int(row["occurred_at"].timestamp()),  # type: ignore[attr-defined]
        value=float(row["value"]),  # type: ignore[arg-type]
        lat=float(row["lat"]),  # type: ignore[arg-type]
        lon=float(row["lon"]),  # type: ignore[arg-type]
    )


def test_live_features_equal_those_of_the_whole_log(
    events: pa.Table, bundle: DetectorBundle
) -> None:
    behaviour = read_behaviour_log(events, label_column="is_fraud")
    expected = detector_features(bundle, behaviour, np.arange(len(behaviour.log)))
    position = np.empty(N_EVENTS, dtype=np.int64)
    position[behaviour.row_idx] = np.arange(N_EVENTS)
    n_lake = N_EVENTS - 100  # 4 days: none of their outcomes is known yet
    history = LiveHistory(events.slice(0, n_lake), "is_fraud", {})
    assert history.holds(as_event(events.slice(n_lake - 1, 1).to_pylist()[0]))
    for row, fields in enumerate(events.slice(n_lake).to_pylist(), start=n_lake):
        event = as_event(fields)
        live = history.features(event, bundle)
        assert live.names == expected.names
        np.testing.assert_allclose(
            live.values[0], expected.values[position[row]], rtol=2e-4, atol=2e-4
        )
        assert not history.holds(event)
        history.add(event)


def test_a_new_user_at_a_new_item_has_features(bundle: DetectorBundle, events: pa.Table) -> None:
    history = LiveHistory(events, "is_fraud", {})
    event = BehaviourEvent("stranger", "new shop", 1_704_000_000 + 90 * 86_400, value=5.0)
    row = history.features(event, bundle)
    assert row.values.shape == (1, len(bundle.detector.feature_names))
    assert np.isfinite(row.values).all()
    assert np.isfinite(bundle.detector.surprise(row)).all()


@pytest.fixture(scope="module")
def surprise_bundle(events: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> DetectorBundle:
    behaviour = read_behaviour_log(events)
    half_s = int(np.median(behaviour.log.occurred_s))
    folder = tmp_path_factory.mktemp("counted") / "recommender"
    count_recommender(behaviour, half_s, folder, dataset="town", data_version="1")
    rows = np.flatnonzero(behaviour.log.occurred_s >= half_s)
    recommender = open_recommender(folder, behaviour_catalog(behaviour))
    surprise = recommender_features(recommender, with_places(behaviour), rows)
    features = behaviour_features(behaviour.log, behaviour.places, typical_value=20.0)
    detector = make_detector("surprise", DetectorConfig())
    fitted = detector.fit(features.take(rows).joined(surprise))
    return DetectorBundle(
        fitted, 20.0, 7, AlertThreshold(3.0, 0.01, 0.95, 10), 0, recommender_dir=folder
    )


def test_live_surprise_equals_that_of_the_whole_log(
    events: pa.Table, surprise_bundle: DetectorBundle, tmp_path: Path
) -> None:
    stored = load_detector(save_detector(surprise_bundle, tmp_path / "detector"))
    n_lake = N_EVENTS - 40
    scored = score_new_events(stored, events.slice(0, n_lake), events.slice(n_lake), {})
    history = LiveHistory(events.slice(0, n_lake), None, {}, stored.recommender_dir)
    live = []
    for fields in events.slice(n_lake).to_pylist():
        live.append(stored.detector.surprise(history.features(as_event(fields), stored))[0])
        history.add(as_event(fields))
    np.testing.assert_allclose(live, scored.surprise, rtol=1e-3, atol=1e-3)
    assert np.ptp(live) > 1.0
