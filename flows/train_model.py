"""Flow ``train-model``: ingest, search, train, compress, evaluate, promote and report."""

import time
from functools import partial
from pathlib import Path
from typing import Any, Final

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from chronotope.contracts.escaping import markdown_rows, markdown_text
from chronotope.datasets.loading import load_spec
from chronotope.pipelines.compress import compress_model
from chronotope.pipelines.evaluate_holdout import evaluate_holdout
from chronotope.pipelines.promote import (
    is_promotion_of,
    is_registered,
    promote_version,
    register_version,
)
from chronotope.pipelines.publish_training import is_published_run, publish_training
from chronotope.pipelines.report import INGESTION_STEP, write_report
from chronotope.pipelines.results import (
    ColumnSelection,
    CompressionSummary,
    HoldoutEvaluation,
    PromotionResult,
    RegisteredVersion,
    SearchResult,
    TrainingData,
    TrainingResult,
    TrainingSummary,
    WrittenReport,
)
from chronotope.pipelines.run_dir import training_run_dir
from chronotope.pipelines.search import freeze_folds
from chronotope.pipelines.search_parameters import search_parameters
from chronotope.pipelines.select_columns import select_context_columns
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.train import train_final_model
from chronotope.runtime.step_cache import (
    StepCost,
    peak_mb,
    run_step,
    run_verified_step,
    step_costs,
)
from flows import dataset_lock_in_flow
from flows.change_champion import emit_promoted
from flows.ingest_events import IngestSettings, ingest_locked
from flows.link_runs import link_runs

_TASK: Final[dict[str, Any]] = {
    "cache_policy": NO_CACHE,  # results are cached in the run's folder, independent of the server
    "result_serializer": "json",
}

_SHOWN_METRICS: Final = ("acc_1", "acc_10", "ndcg_10", "mrr")


@flow(name="train-model", result_serializer="json")
def train_model(
    dataset: str,
    settings: TrainSettings = TrainSettings(),  # noqa: B008 - frozen
    ingestion: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
) -> TrainingResult:
    """Ingest new events, then search, train, compress, evaluate, gate, promote and report.

    A run that was killed resumes after its last finished step.

    Args:
        dataset: Name of a file in conf/datasets, or path of such a YAML file.
        settings: Folds, search, training, compression and gate.
        ingestion: Location, reading and validation of the data; its root is ignored in favour
            of that of the settings.
    """
    dataset_spec = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir)
    settings = settings.for_groups_of(dataset_spec.privacy.min_group_users)
    with dataset_lock_in_flow(settings.workspace, dataset_spec.name):
        return train_locked(dataset, settings, ingestion)


def train_locked(
    dataset: str, settings: TrainSettings, ingestion: IngestSettings
) -> TrainingResult:
    """Body of ``train_model``; the caller holds the dataset's lock."""
    start_time = time.perf_counter()
    ingestion_summary = ingest_locked(dataset, ingestion.model_copy(update={"root": settings.root}))
    ingestion_cost = StepCost(seconds=time.perf_counter() - start_time, peak_mb=peak_mb())
    feature_snapshot, dataset_name = ingestion_summary.features, ingestion_summary.events.dataset
    features_dir = feature_snapshot.path
    run_dir = training_run_dir(features_dir, dataset_name, settings)
    search_result = search(features_dir, settings, run_dir)
    column_selection = select_columns(features_dir, settings, run_dir, search_result.params)
    model_path = train(
        features_dir,
        settings,
        run_dir,
        {**search_result.params, **column_selection.model_params()},
    )
    compression_summary = compress(
        features_dir, settings, run_dir, model_path, feature_snapshot.data_version
    )
    holdout_evaluation = evaluate(features_dir, settings, run_dir, compression_summary.bundle)
    promotion_result = promote(
        features_dir, settings, run_dir, compression_summary.bundle, holdout_evaluation
    )
    training_summary = TrainingSummary(
        fold_ndcg=search_result.fold_ndcg,
        columns=column_selection,
        compression=compression_summary,
        evaluation=holdout_evaluation,
        promotion=promotion_result,
        ingestion_cost=ingestion_cost,
        searched=search_result.params,
    )
    training_data = TrainingData(
        counts=ingestion_summary.events.event_counts(), features=feature_snapshot
    )
    written_report = report(run_dir, settings, training_data, training_summary)
    publish(dataset_name, holdout_evaluation, promotion_result, written_report)
    link_runs(settings.root, promotion_result)
    return TrainingResult(
        ingestion=ingestion_summary,
        search=search_result,
        columns=column_selection,
        compression=compression_summary,
        evaluation=holdout_evaluation,
        promotion=promotion_result,
        report=written_report,
        costs={INGESTION_STEP: ingestion_cost, **step_costs(run_dir)},
    )


@task(**_TASK)
def search(features_dir: Path, settings: TrainSettings, run_dir: Path) -> SearchResult:
    """Freeze the folds and search hyper-parameters on them."""
    run_step(run_dir, "freeze_folds", str, freeze_folds, features_dir, settings, run_dir)
    return run_step(
        run_dir,
        "search_parameters",
        SearchResult,
        search_parameters,
        features_dir,
        settings,
        run_dir,
    )


@task(**_TASK)
def select_columns(
    features_dir: Path, settings: TrainSettings, run_dir: Path, model_params: dict[str, Any]
) -> ColumnSelection:
    """Select the context columns that improve predictions on later events."""
    return run_step(
        run_dir,
        "select_context_columns",
        ColumnSelection,
        select_context_columns,
        features_dir,
        settings,
        run_dir,
        model_params,
    )


@task(**_TASK)
def train(
    features_dir: Path, settings: TrainSettings, run_dir: Path, model_params: dict[str, Any]
) -> Path:
    """Train the final model on all events before the holdout."""
    return run_step(
        run_dir,
        "train_final_model",
        Path,
        train_final_model,
        features_dir,
        settings,
        run_dir,
        model_params,
    )


@task(**_TASK)
def compress(
    features_dir: Path, settings: TrainSettings, run_dir: Path, model_path: Path, data_version: str
) -> CompressionSummary:
    """Prune, distil, quantise and export; select the smallest candidate within the objective."""
    compression_summary = run_step(
        run_dir,
        "compress_model",
        CompressionSummary,
        compress_model,
        features_dir,
        settings,
        run_dir,
        model_path,
        data_version,
    )
    show_candidates(run_dir.parent.name, compression_summary)
    return compression_summary


def show_candidates(dataset: str, compression_summary: CompressionSummary) -> None:
    """Create an artifact with cost and quality of every candidate, and why it was not selected.

    Args:
        dataset: Name of the dataset.
        compression_summary: Candidates and selection.
    """
    table_rows = [
        {
            column_name: round(cell_value, 4) if isinstance(cell_value, float) else cell_value
            for column_name, cell_value in candidate_row.model_dump().items()
        }
        for candidate_row in compression_summary.candidates
    ]
    create_table_artifact(
        markdown_rows(table_rows),
        key=f"compress-{dataset.replace('_', '-')}",
        description=markdown_text(compression_summary.reason),
    )


@task(**_TASK)
def evaluate(
    features_dir: Path, settings: TrainSettings, run_dir: Path, bundle_dir: Path
) -> HoldoutEvaluation:
    """Evaluate the compressed model and every baseline on the holdout."""
    return run_step(
        run_dir,
        "evaluate_holdout",
        HoldoutEvaluation,
        evaluate_holdout,
        features_dir,
        settings,
        run_dir,
        bundle_dir,
    )


@task(**_TASK)
def promote(
    features_dir: Path,
    settings: TrainSettings,
    run_dir: Path,
    bundle_dir: Path,
    holdout_evaluation: HoldoutEvaluation,
) -> PromotionResult:
    """Register the model, and make it the champion if it passes the gate and the blessing."""
    registered_version = run_verified_step(
        run_dir,
        "register_version",
        RegisteredVersion,
        partial(is_registered, settings),
        register_version,
        features_dir,
        settings,
        run_dir,
        bundle_dir,
        holdout_evaluation,
    )
    was_promoted = (run_dir / "promote_version.json").exists()  # by an earlier, killed run
    promotion_result = run_verified_step(
        run_dir,
        "promote_version",
        PromotionResult,
        partial(is_promotion_of, registered_version),
        promote_version,
        features_dir,
        settings,
        run_dir,
        bundle_dir,
        registered_version,
    )
    if promotion_result.promoted and not was_promoted:
        emit_promoted(run_dir.parent.name, promotion_result.version)
    return promotion_result


@task(**_TASK)
def report(
    run_dir: Path,
    settings: TrainSettings,
    training_data: TrainingData,
    training_summary: TrainingSummary,
) -> WrittenReport:
    """Write the HTML report and the model card, and store both with the MLflow run."""
    written_report = run_step(
        run_dir,
        "write_report",
        WrittenReport,
        write_report,
        run_dir,
        settings,
        training_data,
        training_summary,
    )
    run_verified_step(
        run_dir,
        "publish_training",
        str,
        partial(is_published_run, training_summary.promotion),
        publish_training,
        settings,
        training_summary.promotion,
        written_report,
        training_summary.columns,
    )
    return written_report


@task(**_TASK)
def publish(
    dataset: str,
    holdout_evaluation: HoldoutEvaluation,
    promotion_result: PromotionResult,
    written_report: WrittenReport,
) -> None:
    """Create artifacts: metrics, decision of the gate, model card, and a link to the report."""
    artifact_key = f"train-{dataset.replace('_', '-')}"
    table_rows = [
        {
            "model": model_name,
            **{metric_name: round(model_metrics[metric_name], 4) for metric_name in _SHOWN_METRICS},
        }
        for model_name, model_metrics in holdout_evaluation.metrics.items()
    ]
    create_table_artifact(
        markdown_rows(table_rows),
        key=artifact_key,
        description="Metrics on the holdout: full catalogue, request time given",
    )
    card_text = written_report.card.read_text(encoding="utf-8")
    create_markdown_artifact(
        f"{promotion_markdown(promotion_result)}\n\n{card_text}",
        key=f"{artifact_key}-card",
        description="Gate and model card",
    )
    create_link_artifact(written_report.report.resolve().as_uri(), key=f"{artifact_key}-report")


def promotion_markdown(promotion_result: PromotionResult) -> str:
    """Decision of the gate with its reasons, as Markdown.

    Args:
        promotion_result: Result of ``promote_version``.
    """
    version_text = f"Version {promotion_result.version} of `{promotion_result.name}`"
    if promotion_result.promoted:
        return f"**{version_text} is the champion.**"
    reason_lines = [f"- {markdown_text(reason)}" for reason in promotion_result.reasons]
    return "\n".join([f"**{version_text} stays challenger:**", "", *reason_lines])
