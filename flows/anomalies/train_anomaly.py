"""Flow ``train-anomaly``: ingest, search a detector, fit, evaluate, gate, promote and report."""

from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from chronotope.contracts.data_version import DataVersion
from chronotope.contracts.escaping import markdown_rows
from chronotope.datasets.loading import load_spec
from chronotope.pipelines.anomaly.evaluate_detector import evaluate_detector, fit_final_detector
from chronotope.pipelines.anomaly.promote_detector import (
    promote_detector,
    register_trained_detector,
)
from chronotope.pipelines.anomaly.report_detector import write_anomaly_report
from chronotope.pipelines.anomaly.results import (
    AnomalyTrainingResult,
    DetectorEvaluation,
    DetectorSearch,
)
from chronotope.pipelines.anomaly.search_detector import search_detector
from chronotope.pipelines.anomaly.settings import AnomalySettings
from chronotope.pipelines.anomaly.training_log import anomaly_run_dir
from chronotope.pipelines.results import PromotionResult, RegisteredVersion
from chronotope.runtime.step_cache import run_step
from flows import dataset_lock_in_flow
from flows.ingest_events import TASK, IngestSettings, ingest_locked
from flows.train_model import promotion_markdown


@flow(name="train-anomaly", result_serializer="json")
def train_anomaly(
    dataset: str,
    settings: AnomalySettings = AnomalySettings(),  # noqa: B008 - frozen
    ingestion: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
) -> AnomalyTrainingResult:
    """Ingest new events, then search, fit, evaluate, gate, promote and report a detector.

    A run that was killed resumes after its last finished step.

    Args:
        dataset: Name of a file in conf/datasets, or path of such a YAML file.
        settings: Detectors, days, search, gate and alerts.
        ingestion: Location, reading and validation of the data; its root is ignored in favour
            of that of the settings.
    """
    name = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir).name
    with dataset_lock_in_flow(settings.workspace, name):
        summary = ingest_locked(dataset, ingestion.model_copy(update={"root": settings.root}))
        version = DataVersion.parse(summary.features.data_version).events.number
        run_dir = anomaly_run_dir(name, version, settings)
        search_result = search(name, version, settings, run_dir)
        detector_dir = fit(name, version, settings, run_dir, search_result)
        evaluation_result = evaluate(name, version, settings, run_dir, detector_dir)
        promotion = promote(name, settings, run_dir, search_result, evaluation_result)
        report_path = publish(name, settings, search_result, evaluation_result, promotion)
    return AnomalyTrainingResult(
        search=search_result, evaluation=evaluation_result, promotion=promotion, report=report_path
    )


@task(**TASK)
def search(dataset: str, version: int, settings: AnomalySettings, run_dir: Path) -> DetectorSearch:
    """Choose detector and parameters on folds before the holdout."""
    return run_step(
        run_dir,
        "search_detector",
        DetectorSearch,
        search_detector,
        dataset,
        version,
        settings,
        run_dir,
    )


@task(**TASK)
def fit(
    dataset: str,
    version: int,
    settings: AnomalySettings,
    run_dir: Path,
    search_result: DetectorSearch,
) -> Path:
    """Fit the chosen detector on the days before the holdout."""
    return run_step(
        run_dir,
        "fit_final_detector",
        Path,
        fit_final_detector,
        dataset,
        version,
        settings,
        run_dir,
        search_result,
    )


@task(**TASK)
def evaluate(
    dataset: str, version: int, settings: AnomalySettings, run_dir: Path, detector_dir: Path
) -> DetectorEvaluation:
    """Evaluate the stored detector, the champion and the baselines on the holdout."""
    return run_step(
        run_dir,
        "evaluate_detector",
        DetectorEvaluation,
        evaluate_detector,
        dataset,
        version,
        settings,
        detector_dir,
    )


@task(**TASK)
def promote(
    dataset: str,
    settings: AnomalySettings,
    run_dir: Path,
    search_result: DetectorSearch,
    evaluation: DetectorEvaluation,
) -> PromotionResult:
    """Register the detector, and make it the champion if it passes gate and blessing."""
    registered = run_step(
        run_dir,
        "register_trained_detector",
        RegisteredVersion,
        register_trained_detector,
        dataset,
        settings,
        run_dir,
        search_result,
        evaluation,
    )
    return run_step(
        run_dir,
        "promote_detector",
        PromotionResult,
        promote_detector,
        settings,
        run_dir,
        evaluation,
        registered,
    )


@task(**TASK)
def publish(
    dataset: str,
    settings: AnomalySettings,
    search_result: DetectorSearch,
    evaluation: DetectorEvaluation,
    promotion: PromotionResult,
) -> Path:
    """Write the report, and create artifacts with metrics, decision and a link to it."""
    path = write_anomaly_report(dataset, settings, search_result, evaluation, promotion)
    artifact_key = f"anomaly-{dataset.replace('_', '-')}"
    table_rows = [
        {
            "detector": detector,
            "auroc": round(metrics.auroc, 4),
            "average_precision": round(metrics.average_precision, 4),
            "alert_precision": round(metrics.alert_precision, 4),
        }
        for detector, metrics in evaluation.metrics.items()
    ]
    create_table_artifact(
        markdown_rows(table_rows), key=artifact_key, description="Detectors on the latest days"
    )
    create_markdown_artifact(
        promotion_markdown(promotion), key=f"{artifact_key}-gate", description="Gate"
    )
    create_link_artifact(path.resolve().as_uri(), key=f"{artifact_key}-report")
    return path
