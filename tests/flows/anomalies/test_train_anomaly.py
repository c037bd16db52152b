"""The flow on a log of payments: labels given, then none; champion, challenger and resuming."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronotope.anomalies.detector_files import load_detector
from chronotope.pipelines.anomaly.results import AnomalyTrainingResult
from chronotope.pipelines.anomaly.settings import AnomalySettings
from chronotope.registry.anomaly.detector_versions import champion_detector_folder
from chronotope.registry.mlflow_store import open_store
from flows import without_heartbeat
from flows.anomalies.train_anomaly import train_anomaly
from flows.ingest_events import IngestSettings

YAML = """
name: payments
description: Payments of a small town; some cards are stolen.
licence: CC0-1.0
data_dir: {folder}
event_type: payment
identity: [number]
time: {{kind: timestamp, timezone: UTC}}
events:
  format: parquet
  path: payments.parquet
  columns: {{user_id: card, item_id: shop, occurred_at: occurred_at, value: amount}}
  attributes: {{number: number, is_fraud: is_fraud}}
"""
N_EVENTS, DAYS = 3_000, 50


def payments(folder: Path) -> Path:
    """Stolen cards pay three times the usual amount."""
    rng = np.random.default_rng(0)
    card = rng.integers(0, 50, N_EVENTS)
    is_fraud = rng.random(N_EVENTS) < 0.04
    start = np.datetime64("2024-01-01").astype("datetime64[s]")
    times = start + np.sort(rng.integers(0, DAYS * 86_400, N_EVENTS)).astype("timedelta64[s]")
    amount = rng.normal(20 + 4 * card, 4 + card) * np.where(is_fraud, 3, 1)
    table = pa.table(
        {
            "number": np.arange(N_EVENTS),
            "card": card.astype(str),
            "shop": rng.integers(0, 30, N_EVENTS).astype(str),
            "occurred_at": times.astype("datetime64[ns]"),
            "amount": amount,
            "is_fraud": is_fraud.astype(np.int8),
        }
    )
    pq.write_table(table, folder / "payments.parquet")
    path = folder / "payments.yaml"
    path.write_text(YAML.format(folder=folder), encoding="utf-8")
    return path


def settings(root: Path, **fields: object) -> AnomalySettings:
    return AnomalySettings.model_validate(
        {
            "root": root,
            "label_column": "is_fraud",
            "detectors": ["supervised"],
            "train_days": 14,
            "fold_days": 5,
            "n_folds": 1,
            "holdout_days": 14,
            "detector": {"label_delay_days": 1, "network": {"n_epochs": 1}},
            "study": {"n_trials": 2},
            "max_latency_ms": 1000,
            "alerts_per_day": 5,
            **fields,
        }
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("anomaly_root")


def train(root: Path, **fields: object) -> AnomalyTrainingResult:
    path = root / "payments.yaml"
    path = path if path.exists() else payments(root)
    ingestion = IngestSettings(root=root, data_dir=root, data_docs=False)
    with without_heartbeat():
        return train_anomaly(str(path), settings(root, **fields), ingestion)


@pytest.mark.slow
def test_a_detector_has_to_beat_baselines_and_champion(root: Path, prefect: None) -> None:
    first = train(root)
    assert first.search.labels == "given"
    assert first.promotion.name == "payments-anomaly"
    metrics = first.evaluation.metrics
    assert set(metrics) == {"candidate", "isolation_forest", "squared_deviation"}
    assert metrics["candidate"].auroc > 0.9
    assert first.promotion.promoted, first.promotion.reasons
    assert "ROC" in first.report.read_text(encoding="utf-8")
    folder = champion_detector_folder(open_store(root / "mlruns"), "payments")
    assert folder is not None
    assert load_detector(folder).threshold.surprise == first.evaluation.threshold
    assert train(root) == first  # resumed: nothing is computed again
    weaker = train(root, study={"n_trials": 1, "seed": 1})
    assert not weaker.promotion.promoted
    assert any("champion" in reason for reason in weaker.promotion.reasons)


@pytest.mark.slow
def test_a_log_without_labels_is_judged_by_planted_takeovers(root: Path, prefect: None) -> None:
    result = train(root, label_column=None, detectors=["autoencoder", "supervised"])
    assert (result.search.labels, result.search.detector) == ("planted", "autoencoder")
    assert result.evaluation.n_anomalies > 0
    assert result.evaluation.metrics["candidate"].auroc > 0.6
