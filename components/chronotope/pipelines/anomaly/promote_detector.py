"""Registration of a detector as ``DATASET-anomaly``, gate, blessing and promotion."""

from pathlib import Path

import numpy as np

from chronotope.pipelines.anomaly.evaluate_detector import (
    CANDIDATE,
    CHAMPION,
    DETECTOR_FOLDER,
    EVENTS_FILE,
)
from chronotope.pipelines.anomaly.results import DetectorEvaluation, DetectorSearch
from chronotope.pipelines.anomaly.settings import AnomalySettings
from chronotope.pipelines.results import PromotionResult, RegisteredVersion
from chronotope.registry import model_versions
from chronotope.registry.anomaly.detector_versions import (
    anomaly_model_name,
    blessing_problems,
    register_detector,
)
from chronotope.registry.gate import evaluate_gate
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.promotion import current_champion, promote, set_challenger


def register_trained_detector(
    dataset: str,
    settings: AnomalySettings,
    run_dir: Path,
    search: DetectorSearch,
    evaluation: DetectorEvaluation,
) -> RegisteredVersion:
    """Log metrics to MLflow and register the detector, once per training.

    Args:
        dataset: Name of the dataset.
        settings: Settings of the training.
        run_dir: Folder of the training.
        search: Chosen detector.
        evaluation: Metrics on the holdout.
    """
    mlflow_store, name = open_store(settings.workspace.mlruns), anomaly_model_name(dataset)
    tags = {"dataset": dataset, "detector": search.detector, "training": run_dir.name}
    earlier_version = model_versions.find_registered(mlflow_store, name, tags)
    if earlier_version is not None:  # killed after the registration, before the result was stored
        return RegisteredVersion(name=name, version=earlier_version[0], run_id=earlier_version[1])
    with mlflow_store.run(name, f"detector {run_dir.name}", tags=tags) as tracker:
        tracker.params({"detector": search.detector, "labels": evaluation.labels, **search.params})
        tracker.metrics(
            {
                f"{model}/{metric}": value
                for model, metrics in evaluation.metrics.items()
                for metric, value in metrics.model_dump(exclude={"daily_average_precision"}).items()
            }
        )
        registered = register_detector(
            mlflow_store,
            name=name,
            detector_dir=run_dir / DETECTOR_FOLDER,
            run_id=tracker.run_id,
            tags=tags,
        )
    return RegisteredVersion(name=name, version=registered.version, run_id=tracker.run_id)


def promote_detector(
    settings: AnomalySettings,
    run_dir: Path,
    evaluation: DetectorEvaluation,
    registered: RegisteredVersion,
) -> PromotionResult:
    """Gate and bless a detector, and promote it; if it fails, it stays challenger.

    Args:
        settings: Bounds of the gate.
        run_dir: Folder of the training.
        evaluation: Metrics on the holdout, by day.
        registered: Result of ``register_trained_detector``.
    """
    mlflow_store, name = open_store(settings.workspace.mlruns), registered.name
    set_challenger(mlflow_store, name, registered.version)
    champion_version = current_champion(mlflow_store, name)
    reason_texts = gate_reasons(evaluation, settings)
    reason_texts += blessing_problems(
        run_dir / DETECTOR_FOLDER, run_dir / EVENTS_FILE, settings.max_latency_ms
    )
    if not reason_texts:
        metrics = evaluation.metrics[CANDIDATE]
        promote(
            mlflow_store,
            name,
            registered.version,
            expected_champion=champion_version,
            key=f"{name}-{registered.run_id}",
            reason=f"average precision {metrics.average_precision:.4f} on the holdout",
        )
    return PromotionResult(
        **registered.model_dump(),
        promoted=not reason_texts,
        reasons=tuple(reason_texts),
        previous=champion_version,
    )


def gate_reasons(evaluation: DetectorEvaluation, settings: AnomalySettings) -> list[str]:
    """Reasons of the gate: average precision of each day beside champion and baselines, paired.

    Args:
        evaluation: Metrics on the holdout.
        settings: Bounds of the gate.
    """
    daily_precision = {
        name: np.array(metrics.daily_average_precision)
        for name, metrics in evaluation.metrics.items()
    }
    n_days = len(daily_precision[CANDIDATE])
    if not n_days:
        return ["the holdout contains no anomaly"]
    gate_decision = evaluate_gate(
        daily_precision[CANDIDATE],
        daily_precision.get(CHAMPION),
        {
            name: values
            for name, values in daily_precision.items()
            if name not in (CANDIDATE, CHAMPION)
        },
        user_idx=np.arange(n_days),
        slices={},
        gate_config=settings.gate,
    )
    return list(gate_decision.reasons)
