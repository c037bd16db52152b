"""Suspicious events are held out with reasons, and released by a label or by hand."""

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from chronotope.anomalies import GraphDetector
from chronotope.anomalies.alert_threshold import AlertThreshold
from chronotope.anomalies.behaviour_features import behaviour_features, mean_value
from chronotope.anomalies.behaviour_log import read_behaviour_log
from chronotope.anomalies.detector_files import DetectorBundle
from chronotope.anomalies.fit_detectors import AutoencoderDetector
from chronotope.datasets.loading import load_spec
from chronotope.feedback import anomaly_guard, intake
from chronotope.feedback.anomaly_guard import ANOMALOUS
from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.intake import Intake, IntakeReport, inbox_dir, run_intake
from chronotope.feedback.payloads import payloads_to_batch
from chronotope.feedback.release_anomalies import held_events
from chronotope.lake import Interaction, InteractionLog, Lake
from chronotope.lake.event_labels import KEY_PREFIX, EventLabel, EventLabelLog
from chronotope.runtime.workspace import Workspace
from chronotope.training.anomaly import NetworkConfig

YAML = """
name: shop
description: Payments.
licence: CC0-1.0
data_dir: .
event_type: payment
events:
  format: csv
  path: none.csv
  columns: {user_id: user_id, item_id: item_id, occurred_at: occurred_at, value: value}
"""
START_S = 1_700_000_000
N_KNOWN = 1_200


@dataclass
class Shop:
    """A shop whose users pay 20, with a detector that knows it."""

    intake: Intake
    bundle: DetectorBundle

    @property
    def lake(self) -> Lake:
        return self.intake.lake

    def deliver(self, *payloads: dict[str, Any]) -> IntakeReport:
        folder = inbox_dir(self.intake.workspace, "shop")
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{json.dumps(payload)}\n" for payload in payloads)
        number = len(list(folder.iterdir()))
        (folder / f"{number}.jsonl").write_text(lines, encoding="utf-8")
        return run_intake(self.intake)

    def label(self, event_id: str, *, is_anomalous: bool) -> None:
        path = self.intake.workspace.event_labels("shop")
        with closing(EventLabelLog(path)) as label_log:
            label_log.append([EventLabel(event_id, is_anomalous)])


def payment(user: int, day: float, value: float) -> dict[str, Any]:
    moment = np.datetime64(START_S + int(day * 86_400), "s")
    return {
        "user_id": f"u{user}",
        "item_id": f"i{user % 7}",
        "occurred_at": f"{moment}Z",
        "value": value,
    }


@pytest.fixture(scope="module")
def detector_bundle() -> DetectorBundle:
    events = known_rows(load_shop_spec(Path()))
    behaviour = read_behaviour_log(events)
    features = behaviour_features(behaviour.log)
    network = NetworkConfig(n_epochs=3, n_hidden=16, batch_size=64)
    detector: GraphDetector = AutoencoderDetector(network).fit(features)
    limit = float(np.quantile(detector.surprise(features), 0.995))
    threshold = AlertThreshold(limit, 0.01, 0.95, 10)
    return DetectorBundle(detector, mean_value(behaviour.log), 7, threshold, START_S)


def load_shop_spec(folder: Path) -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "shop.yaml"
        path.write_text(YAML, encoding="utf-8")
        return load_spec(path)


def known_rows(spec: Any) -> pa.Table:
    rng = np.random.default_rng(0)
    payloads = [
        payment(int(rng.integers(0, 20)), day, float(rng.normal(20, 2)))
        for day in np.sort(rng.uniform(0, 40, N_KNOWN))
    ]
    return payloads_to_batch(payloads, spec).rows


@pytest.fixture
def shop(tmp_path: Path, detector_bundle: DetectorBundle, monkeypatch: pytest.MonkeyPatch) -> Shop:
    spec = load_shop_spec(tmp_path)
    found = Intake(spec, Workspace(tmp_path), Path("expectations"), FeedbackConfig())
    found.lake.merge_events(known_rows(spec))
    monkeypatch.setattr(anomaly_guard, "champion_detector", lambda *_: detector_bundle)
    return Shop(found, detector_bundle)


def test_a_flagged_event_waits_in_quarantine_until_a_label_releases_it(shop: Shop) -> None:
    report = shop.deliver(payment(3, 41, 20.5), payment(4, 41.1, 900.0))
    assert (report.n_new, report.n_quarantined) == (1, 1)
    assert report.reasons[ANOMALOUS] == 1
    assert any(reason.startswith("unusual ") for reason in report.reasons)
    (held,) = held_events(shop.lake, shop.intake.spec)
    assert held.batch.rows["value"].to_pylist() == [900.0]
    n_events = len(shop.lake.read("events"))
    shop.label(held.event_id, is_anomalous=False)
    assert run_intake(shop.intake).n_new == 1
    assert len(shop.lake.read("events")) == n_events + 1
    assert len(shop.lake.read("quarantine")) == 0
    assert run_intake(shop.intake).n_read == 0


def test_a_repeated_delivery_decides_the_same(shop: Shop) -> None:
    payloads = [payment(5, 42, 21.0), payment(6, 42.1, 800.0)]
    shop.deliver(*payloads)
    shop.intake.mark_path.unlink()  # as if it was killed before the watermark was written
    report = run_intake(shop.intake)
    assert (report.n_new, report.n_duplicates, report.n_quarantined) == (0, 1, 1)
    assert len(shop.lake.read("quarantine")) == 1


def test_labels_of_posted_events_count_by_their_key(shop: Shop) -> None:
    log_path = shop.intake.workspace.interactions("shop")
    usual, unusual = payment(7, 43, 20.0), payment(8, 43.1, 700.0)
    with closing(InteractionLog(log_path)) as log:
        log.append(
            [
                Interaction(key=key, kind="event", payload=payload)
                for key, payload in (("k1", usual), ("k2", unusual))
            ]
        )
    shop.label(f"{KEY_PREFIX}k1", is_anomalous=True)
    shop.label(f"{KEY_PREFIX}k2", is_anomalous=False)
    report = run_intake(shop.intake)
    assert (report.n_new, report.reasons[ANOMALOUS]) == (1, 1)
    (held,) = held_events(shop.lake, shop.intake.spec)
    assert held.batch.rows["value"].to_pylist() == [20.0]


def test_without_a_detector_or_switched_off_nothing_is_held(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert intake.open_guard(shop.intake.workspace.mlruns, "shop", shop.lake, {}) is None
    assert shop.deliver(payment(9, 44, 900.0)).n_quarantined == 0
