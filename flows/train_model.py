"""Train, compress, evaluate and promote a model of a dataset's feature snapshot."""

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
from flows.ingest_events import IngestSettings, ingest_locked
from flows.link_runs import link_runs

_TASK: Final[dict[str, Any]] = {
    "cache_policy": NO_CACHE,  # finished steps are stored in the run's folder, server or not
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
        dataset: Name of a file in conf/datasets, or the path of such a YAML file.
        settings: Folds, search, training, compression and gate.
        ingestion: Location and reading of the data; the root is that of the settings.
    """
    name = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir).name
    with dataset_lock_in_flow(settings.workspace, name):
        return train_locked(dataset, settings, ingestion)


def train_locked(
    dataset: str, settings: TrainSettings, ingestion: IngestSettings
) -> TrainingResult:
    """Body of ``train_model``; the caller holds the dataset's lock."""
    start_time = time.perf_counter()
    ingested = ingest_locked(dataset, ingestion.model_copy(update={"root": settings.root}))
    ingestion_cost = StepCost(seconds=time.perf_counter() - start_time, peak_mb=peak_mb())
    snapshot, name = ingested.features, ingested.events.dataset
    features = snapshot.path
    run_dir = training_run_dir(features, name, settings)
    best = search(features, settings, run_dir)
    columns = select_columns(features, settings, run_dir, best.params)
    model_path = train(features, settings, run_dir, {**best.params, "context": columns.selected})
    compression = compress(features, settings, run_dir, model_path, snapshot.data_version)
    evaluation = evaluate(features, settings, run_dir, compression.bundle)
    promotion = promote(features, settings, run_dir, compression.bundle, evaluation)
    summary = TrainingSummary(
        fold_ndcg=best.fold_ndcg,
        columns=columns,
        compression=compression,
        evaluation=evaluation,
        promotion=promotion,
        ingestion_cost=ingestion_cost,
    )
    data = TrainingData(counts=ingested.events.event_counts(), features=snapshot)
    written = report(run_dir, settings, data, summary)
    publish(name, evaluation, promotion, written)
    link_runs(settings.root, promotion)
    return TrainingResult(
        ingestion=ingested,
        search=best,
        columns=columns,
        compression=compression,
        evaluation=evaluation,
        promotion=promotion,
        report=written,
        costs={INGESTION_STEP: ingestion_cost, **step_costs(run_dir)},
    )


@task(**_TASK)
def search(features: Path, settings: TrainSettings, run_dir: Path) -> SearchResult:
    """Freeze the folds and search hyper-parameters over them."""
    run_step(run_dir, "freeze_folds", str, freeze_folds, features, settings, run_dir)
    return run_step(
        run_dir, "search_parameters", SearchResult, search_parameters, features, settings, run_dir
    )


@task(**_TASK)
def select_columns(
    features: Path, settings: TrainSettings, run_dir: Path, params: dict[str, Any]
) -> ColumnSelection:
    """Select the context columns that improve predictions of later time."""
    return run_step(
        run_dir,
        "select_context_columns",
        ColumnSelection,
        select_context_columns,
        features,
        settings,
        run_dir,
        params,
    )


@task(**_TASK)
def train(features: Path, settings: TrainSettings, run_dir: Path, params: dict[str, Any]) -> Path:
    """Train the final model on all events before the holdout."""
    return run_step(
        run_dir,
        "train_final_model",
        Path,
        train_final_model,
        features,
        settings,
        run_dir,
        params,
    )


@task(**_TASK)
def compress(
    features: Path, settings: TrainSettings, run_dir: Path, model_path: Path, data_version: str
) -> CompressionSummary:
    """Prune, distil, quantise and export; select the smallest candidate within the objective."""
    compression = run_step(
        run_dir,
        "compress_model",
        CompressionSummary,
        compress_model,
        features,
        settings,
        run_dir,
        model_path,
        data_version,
    )
    show_candidates(run_dir.parent.name, compression)
    return compression


def show_candidates(dataset: str, compression: CompressionSummary) -> None:
    """Show every candidate with its cost and quality, and the reason if it was not selected.

    Args:
        dataset: Name of the dataset.
        compression: The candidates.
    """
    table_rows = [
        {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in candidate.model_dump().items()
        }
        for candidate in compression.candidates
    ]
    create_table_artifact(
        markdown_rows(table_rows),
        key=f"compress-{dataset.replace('_', '-')}",
        description=markdown_text(compression.reason),
    )


@task(**_TASK)
def evaluate(
    features: Path, settings: TrainSettings, run_dir: Path, bundle: Path
) -> HoldoutEvaluation:
    """Evaluate the compressed model and every baseline on the holdout."""
    return run_step(
        run_dir,
        "evaluate_holdout",
        HoldoutEvaluation,
        evaluate_holdout,
        features,
        settings,
        run_dir,
        bundle,
    )


@task(**_TASK)
def promote(
    features: Path,
    settings: TrainSettings,
    run_dir: Path,
    bundle: Path,
    evaluation: HoldoutEvaluation,
) -> PromotionResult:
    """Register the model; it becomes champion if it passes the gate and the blessing."""
    registered = run_verified_step(
        run_dir,
        "register_version",
        RegisteredVersion,
        partial(is_registered, settings),
        register_version,
        features,
        settings,
        run_dir,
        bundle,
        evaluation,
    )
    return run_verified_step(
        run_dir,
        "promote_version",
        PromotionResult,
        partial(is_promotion_of, registered),
        promote_version,
        features,
        settings,
        run_dir,
        bundle,
        registered,
    )


@task(**_TASK)
def report(
    run_dir: Path, settings: TrainSettings, data: TrainingData, summary: TrainingSummary
) -> WrittenReport:
    """Write the HTML report and the model card, and store both with the MLflow run."""
    written = run_step(
        run_dir, "write_report", WrittenReport, write_report, run_dir, settings, data, summary
    )
    run_verified_step(
        run_dir,
        "publish_training",
        str,
        partial(is_published_run, summary.promotion),
        publish_training,
        settings,
        summary.promotion,
        written,
    )
    return written


@task(**_TASK)
def publish(
    dataset: str, evaluation: HoldoutEvaluation, promotion: PromotionResult, written: WrittenReport
) -> None:
    """Show the metrics, the gate's decision with the model card, and a link to the report."""
    key = f"train-{dataset.replace('_', '-')}"
    table_rows = [
        {"model": model_name, **{name: round(metrics[name], 4) for name in _SHOWN_METRICS}}
        for model_name, metrics in evaluation.metrics.items()
    ]
    create_table_artifact(
        markdown_rows(table_rows), key=key, description="Holdout, full catalogue, time given"
    )
    card_text = written.card.read_text(encoding="utf-8")
    create_markdown_artifact(
        f"{promotion_markdown(promotion)}\n\n{card_text}",
        key=f"{key}-card",
        description="Gate and model card",
    )
    create_link_artifact(written.report.resolve().as_uri(), key=f"{key}-report")


def promotion_markdown(promotion: PromotionResult) -> str:
    """Decision of the gate with its reasons, as Markdown.

    Args:
        promotion: Result of ``promote_version``.
    """
    subject = f"Version {promotion.version} of `{promotion.name}`"
    if promotion.promoted:
        return f"**{subject} is the champion.**"
    reason_lines = [f"- {markdown_text(reason)}" for reason in promotion.reasons]
    return "\n".join([f"**{subject} stays challenger:**", "", *reason_lines])
