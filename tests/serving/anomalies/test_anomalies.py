"""Posted events get a score, flagged ones are listed within the budget, labels are stored."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from chronotope.anomalies.alert_threshold import AlertThreshold
from chronotope.anomalies.behaviour_features import behaviour_features
from chronotope.anomalies.behaviour_log import read_behaviour_log
from chronotope.anomalies.detector_files import DetectorBundle, save_detector
from chronotope.anomalies.fit_detectors import AutoencoderDetector
from chronotope.audit import AuditTrail
from chronotope.lake import Lake
from chronotope.lake.event_labels import KEY_PREFIX, read_event_labels
from chronotope.registry.champion_lookup import ChampionRecord
from chronotope.runtime.workspace import Workspace
from chronotope.serving.anomalies import live_detector
from chronotope.serving.anomalies.live_detector import score_drift
from chronotope.training.anomaly import NetworkConfig
from tests.serving.town import LocalClient, Town

BUDGET = 3


def fitted(town: Town) -> DetectorBundle:
    """A detector of the town's lake that flags what is rarer than nearly all of it."""
    behaviour = read_behaviour_log(Lake(Workspace(town.root).lake("city")).read("events"))
    features = behaviour_features(behaviour.log, behaviour.places, typical_value=1.0)
    network = NetworkConfig(n_epochs=2, n_hidden=8, batch_size=32)
    copies = features.take(np.arange(len(features.values)).repeat(20))
    detector = AutoencoderDetector(network).fit(copies)
    limit = float(detector.surprise(features).max())
    threshold = AlertThreshold(limit, 0.01, 0.95, BUDGET)
    return DetectorBundle(detector, 1.0, 7, threshold, 0)


@pytest.fixture
def client(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    folder = save_detector(fitted(town), tmp_path / "detector")
    record = ChampionRecord("4", str(folder), None)
    monkeypatch.setattr(live_detector, "read_champion_record", lambda *_: record)
    with LocalClient(town.app(poll_s=3600)) as opened:
        yield opened


def post(client: TestClient, *numbers: int, user_id: str = "u00") -> list[dict[str, Any]]:
    """Events of one user, a second apart."""
    records = [
        {
            "kind": "event",
            "key": f"k{number}",
            "user_id": user_id,
            "item_id": "i01",
            "occurred_at": f"2026-06-01T03:{number // 60:02d}:{number % 60:02d}Z",
        }
        for number in numbers
    ]
    reply = client.post("/events", json=records)
    assert reply.status_code == 200, reply.text
    return list(reply.json()["anomalies"])


def test_a_burst_is_flagged_with_reasons_and_alerts_keep_to_the_budget(client: TestClient) -> None:
    scores = post(client, *range(300))
    assert [score["key"] for score in scores] == [f"k{number}" for number in range(300)]
    flagged = [score for score in scores if score["is_flagged"]]
    assert len(flagged) > 20
    assert all(score["reasons"] for score in flagged)
    listed = client.get("/anomalies?limit=1000").json()
    assert listed["version"] == "4"
    assert {event["key"] for event in listed["events"]} == {score["key"] for score in flagged}
    alerts = client.get("/anomalies?alerts_only=true&limit=1000").json()["events"]
    assert len(alerts) >= BUDGET
    assert alerts[0]["occurred_at"].startswith("2026-06-01T03:")
    lowest = min(event["score"] for event in alerts[:BUDGET])
    assert sum(event["score"] > lowest for event in listed["events"]) <= len(alerts)
    assert listed["drift"]["has_drifted"]


def test_a_record_that_is_posted_again_is_not_scored_again(client: TestClient) -> None:
    assert len(post(client, 1)) == 1
    record = {"kind": "event", "key": "k1", "user_id": "u00", "item_id": "i01"}
    reply = client.post("/events", json={**record, "occurred_at": "2026-06-01T03:00:01Z"})
    assert reply.json() == {"n_received": 1, "n_new": 0, "n_unknown_items": 0, "n_not_stored": 0}


def test_labels_are_stored_and_checked(client: TestClient, town: Town) -> None:
    labels = [{"key": "k1", "label": "fraud"}, {"event_id": "a" * 32, "label": "genuine"}]
    reply = client.post("/labels", json=labels)
    assert (reply.status_code, reply.json()) == (200, {"n_received": 2, "n_new": 2})
    stored = read_event_labels(Workspace(town.root).event_labels("city"))
    assert stored == {f"{KEY_PREFIX}k1": True, "a" * 32: False}
    entry = AuditTrail(Workspace(town.root).audit()).entries()[-1]
    assert (entry.action, entry.dataset) == ("label", "city")
    assert entry.detail == {"n_received": 2, "n_new": 2, "n_fraud": 1}
    for wrong in (
        {"label": "fraud"},
        {"key": "k", "event_id": "e", "label": "fraud"},
        {"key": "k"},
    ):
        assert client.post("/labels", json=wrong).status_code == 422


def test_the_page_shows_them_with_buttons(client: TestClient) -> None:
    page = client.get("/anomalies/page")
    assert page.status_code == 200
    assert "genuine" in page.text
    assert "'nonce-" in page.headers["content-security-policy"]


def test_without_a_detector_receipts_have_no_scores(town: Town) -> None:
    with LocalClient(town.app(poll_s=3600)) as plain:
        record = {"kind": "event", "key": "k", "user_id": "u00", "item_id": "i01"}
        reply = plain.post("/events", json={**record, "occurred_at": "2026-06-01T03:00:00Z"})
        assert "anomalies" not in reply.json()
        listed = {"version": None, "drift": None, "events": []}
        assert plain.get("/anomalies").json() == listed


def test_drift_is_measured_against_uniform_p_values(town: Town) -> None:
    bundle, rng = fitted(town), np.random.default_rng(0)
    assert not score_drift(rng.exponential(size=1_000), bundle).has_drifted
    assert score_drift(rng.exponential(size=1_000) * 2, bundle).has_drifted
