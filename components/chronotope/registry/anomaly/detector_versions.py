"""Anomaly detectors in the MLflow registry, as ``DATASET-anomaly``, and their blessing."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mlflow.exceptions import MlflowException

from chronotope.registry.mlflow_store import MlflowStore
from chronotope.registry.model_versions import ModelVersion, find_version
from chronotope.registry.promotion import current_champion
from chronotope.registry.version_files import local_version_folder

_FOLDER: Final = "detector"
_FETCHED: Final = "fetched"
_PROBE: Final = "chronotope.anomalies.detector_probe"
_PROBE_TIMEOUT_S: Final = 120.0
_MAX_DIFFERENCE: Final = 1e-3


def anomaly_model_name(dataset: str) -> str:
    """Name of the registered model of a dataset's detector."""
    return f"{dataset}-anomaly"


def register_detector(
    mlflow_store: MlflowStore,
    *,
    name: str,
    detector_dir: Path,
    run_id: str,
    tags: Mapping[str, str],
) -> ModelVersion:
    """Log a detector's folder to a run and register it as the next version.

    Args:
        mlflow_store: The store.
        name: Registered model; created if missing.
        detector_dir: Folder that ``save_detector`` wrote.
        run_id: Run that produced it.
        tags: Lineage.
    """
    mlflow_client = mlflow_store.client
    try:
        mlflow_client.get_registered_model(name)
    except MlflowException:
        mlflow_client.create_registered_model(name)
    mlflow_client.log_artifacts(run_id, str(detector_dir), _FOLDER)
    uri = f"{mlflow_client.get_run(run_id).info.artifact_uri}/{_FOLDER}"
    version = mlflow_client.create_model_version(name, uri, run_id=run_id, tags=dict(tags))
    return ModelVersion(name, str(version.version), uri)


def champion_detector_folder(mlflow_store: MlflowStore, dataset: str) -> Path | None:
    """Local folder of the champion's files; None if no detector was promoted yet."""
    name = anomaly_model_name(dataset)
    champion = current_champion(mlflow_store, name)
    if champion is None:
        return None
    version = find_version(mlflow_store, name, champion)
    source = str(mlflow_store.client.get_model_version(name, version).source)
    return local_version_folder(source, mlflow_store.root / _FETCHED)


def blessing_problems(detector_dir: Path, events_path: Path, max_latency_ms: float) -> list[str]:
    """Reasons against serving a detector, from a clean process; empty if it is blessed.

    Args:
        detector_dir: Folder of the detector.
        events_path: ``.npz`` of events and the scores they had when it was fitted.
        max_latency_ms: Largest median time of scoring one event.
    """
    probe_command = [sys.executable, "-m", _PROBE, str(detector_dir), str(events_path)]
    try:
        probe_process = subprocess.run(  # noqa: S603 - fixed command
            probe_command, capture_output=True, text=True, check=False, timeout=_PROBE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return [f"the clean process took longer than {_PROBE_TIMEOUT_S:g} s"]
    if probe_process.returncode != 0:
        return [f"the clean process failed: {probe_process.stderr.strip()[-500:]}"]
    probe_metrics = json.loads(probe_process.stdout.strip().splitlines()[-1])
    blessing_reasons = []
    if not probe_metrics["max_difference"] <= _MAX_DIFFERENCE:
        blessing_reasons.append(
            f"scores differ by {probe_metrics['max_difference']:.3g} in a clean process"
        )
    if probe_metrics["latency_ms"] > max_latency_ms:
        blessing_reasons.append(
            f"an event takes {probe_metrics['latency_ms']:.2f} ms, more than {max_latency_ms}"
        )
    if probe_metrics["imports_torch"]:
        blessing_reasons.append("the detector imports torch")
    return blessing_reasons
