"""Files of a detector, the threshold of alerts, planted anomalies, and the clean process."""

import json
from pathlib import Path

import numpy as np
import pytest

from chronotope.anomalies import FeatureTable, GraphDetector
from chronotope.anomalies.alert_threshold import AlertThreshold, learn_threshold
from chronotope.anomalies.behaviour_log import BehaviourLog
from chronotope.anomalies.detector import EnsembleDetector
from chronotope.anomalies.detector_files import (
    MANIFEST_FILE,
    DetectorBundle,
    load_detector,
    save_detector,
)
from chronotope.anomalies.planted_anomalies import has_labels, plant_takeovers
from chronotope.contracts.errors import ArtifactError, DataError
from chronotope.contracts.ids import IdMap
from chronotope.registry.anomaly.detector_versions import blessing_problems
from tests.anomalies.conftest import Payments

THRESHOLD = AlertThreshold(4.5, 0.01, 0.95, 100)


def bundle(detector: GraphDetector | EnsembleDetector) -> DetectorBundle:
    return DetectorBundle(detector, 20.0, 7, THRESHOLD, 1_700_000_000, {"dataset": "town"})


def test_a_stored_detector_gives_the_same_scores(
    tmp_path: Path, features: FeatureTable, autoencoder: GraphDetector
) -> None:
    for detector in (autoencoder, EnsembleDetector((autoencoder,))):
        stored = load_detector(save_detector(bundle(detector), tmp_path / detector.name))
        assert (stored.detector.name, stored.threshold) == (detector.name, THRESHOLD)
        assert (stored.typical_value, stored.facts) == (20.0, {"dataset": "town"})
        np.testing.assert_array_equal(
            stored.detector.surprise(features), detector.surprise(features)
        )


def test_damaged_files_are_refused(tmp_path: Path, autoencoder: GraphDetector) -> None:
    save_detector(bundle(autoencoder), tmp_path)
    manifest = json.loads((tmp_path / MANIFEST_FILE).read_text(encoding="utf-8"))
    (tmp_path / MANIFEST_FILE).write_text(
        json.dumps({**manifest, "members": [{}]}), encoding="utf-8"
    )
    with pytest.raises(ArtifactError, match="anomalies train"):
        load_detector(tmp_path)
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_detector(tmp_path / "nowhere")


@pytest.mark.slow
def test_a_clean_process_blesses_equal_scores_only(
    tmp_path: Path, features: FeatureTable, autoencoder: GraphDetector
) -> None:
    save_detector(bundle(autoencoder), tmp_path)
    events = features.take(np.arange(20))
    for shift, problems in ((0.0, 0), (0.5, 1)):
        surprise = autoencoder.surprise(events) + shift
        np.savez(
            tmp_path / "events.npz", names=events.names, values=events.values, surprise=surprise
        )
        reasons = blessing_problems(tmp_path, tmp_path / "events.npz", 1000)
        assert len(reasons) == problems, reasons


def test_the_rate_of_false_alarms_is_kept_with_confidence() -> None:
    rng, n_kept = np.random.default_rng(0), 0
    for _ in range(300):
        scores = rng.exponential(size=1000)
        threshold = learn_threshold(
            scores, false_alarm_rate=0.01, confidence=0.9, alerts_per_day=10
        )
        n_kept += np.exp(-threshold.surprise) <= 0.01
    assert 0.87 < n_kept / 300 < 0.97
    with pytest.raises(DataError, match="too few events"):
        learn_threshold(np.arange(50.0), false_alarm_rate=0.01, confidence=0.95, alerts_per_day=1)


def test_planted_takeovers_keep_user_and_time(payments: Payments) -> None:
    nothing = payments.labels
    behaviour = BehaviourLog(
        payments.log, np.arange(len(payments.log)), IdMap.of([]), IdMap.of([]), nothing, None
    )
    assert has_labels(behaviour)
    planted = plant_takeovers(behaviour, 0.05, seed=0)
    is_planted = planted.labels.is_anomalous > 0
    assert is_planted.mean() == pytest.approx(0.05, abs=0.01)
    np.testing.assert_array_equal(planted.log.user_idx, payments.log.user_idx)
    np.testing.assert_array_equal(planted.log.occurred_s, payments.log.occurred_s)
    is_same = planted.log.value == payments.log.value
    assert is_same[~is_planted].all()
    assert not is_same[is_planted].any()
