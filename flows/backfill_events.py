"""Flow ``backfill-events``: replay a period in chunks and evaluate predictions of its events."""

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_table_artifact

from chronotope.contracts.data_version import DataVersion
from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.escaping import markdown_rows
from chronotope.datasets.loading import load_spec
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion import ingest, rows_in_window
from chronotope.ingestion.source_batches import read_batches
from chronotope.lake import Lake
from chronotope.pipelines.backtest import (
    METRICS,
    BacktestChunk,
    BacktestConfig,
    backtest_dir,
    discard_if_lake_replaced,
    evaluate_chunk,
    format_minute,
    resolve_predictor,
    split_period,
)
from chronotope.pipelines.ingest_checks import batch_check
from chronotope.pipelines.publish_backtest import BacktestResult, log_backtest, write_backtest
from chronotope.pipelines.results import (
    BacktestFiles,
    BacktestSummary,
    ChunkCounts,
    ChunkResult,
    Predictor,
)
from chronotope.runtime.step_cache import run_step
from chronotope.runtime.workspace import Workspace
from flows import dataset_lock_in_flow
from flows.ingest_events import TASK, IngestSettings, write_features
from flows.privacy.private_lake import open_private_lake


@flow(name="backfill-events", result_serializer="json")
def backfill_events(
    dataset: str,
    period: BacktestConfig,
    ingestion: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
) -> BacktestSummary:
    """Replay a period in chunks through ingestion, features, and predict-then-update.

    The rows of each chunk are read from the dataset's own source and merged into the lake; then
    each event of the chunk is predicted from the events before it. Events that are already in
    the lake are not written again. A run that was killed resumes after its last finished chunk.

    Args:
        dataset: Name of a file in conf/datasets, or path of such a YAML file.
        period: First and last day, length of the chunks, and the version that predicts.
        ingestion: Location, reading and validation of the data.
    """
    dataset_spec = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir)
    with dataset_lock_in_flow(Workspace(ingestion.root), dataset_spec.name):
        predictor_info = resolve_predictor(ingestion.root, dataset_spec.name, period.version)
        run_dir = backtest_dir_of_source(dataset_spec, period, ingestion, predictor_info)
        discard_if_lake_replaced(run_dir, Lake(Workspace(ingestion.root).lake(dataset_spec.name)))
        chunk_results = tuple(
            replay_chunk(dataset, backtest_chunk, period, ingestion, predictor_info, run_dir)
            for backtest_chunk in split_period(period)
        )
        backtest_result = BacktestResult(
            dataset_spec.name, period, predictor_info.version, run_dir, chunk_results
        )
        backtest_files, run_id = publish_backtest(backtest_result, ingestion.root)
    return BacktestSummary(
        version=predictor_info.version,
        chunks=chunk_results,
        mean_metrics=backtest_result.mean_metrics(),
        files=backtest_files,
        run_id=run_id,
    )


@task(**TASK)
def replay_chunk(
    dataset: str,
    backtest_chunk: BacktestChunk,
    period: BacktestConfig,
    ingestion: IngestSettings,
    predictor_info: Predictor,
    run_dir: Path,
) -> ChunkResult:
    """Ingest and evaluate one chunk, once per backtest.

    Args:
        dataset: Name or YAML file of the dataset.
        backtest_chunk: Chunk of the period.
        period: Evaluation protocol.
        ingestion: Location, reading and validation of the data.
        predictor_info: Version that predicts.
        run_dir: Folder of the backtest.
    """
    backtest_result = run_step(
        run_dir,
        backtest_chunk.step_name,
        ChunkResult,
        _ingest_and_evaluate,
        dataset,
        backtest_chunk,
        period,
        ingestion,
        predictor_info,
    )
    metric_values = backtest_result.metrics.model_dump(include=set(METRICS), exclude_none=True)
    metrics_text = ", ".join(
        f"{metric_name} {metric_values[metric_name]:.3f}"
        for metric_name in METRICS
        if metric_name in metric_values
    )
    get_run_logger().info(
        "%s: %d targets, %s",
        backtest_result.start,
        backtest_result.metrics.n_targets,
        metrics_text or "no metric",
    )
    return backtest_result


@task(**TASK)
def publish_backtest(backtest_result: BacktestResult, root: Path) -> tuple[BacktestFiles, str]:
    """Write the table and the page, log the metrics to MLflow, and create Prefect artifacts.

    Args:
        backtest_result: The backtest.
        root: Project root.

    Returns:
        The files, and the id of the MLflow run.
    """
    backtest_files = run_step(
        backtest_result.run_dir, "write_backtest", BacktestFiles, write_backtest, backtest_result
    )
    run_id = run_step(
        backtest_result.run_dir,
        "log_backtest",
        str,
        log_backtest,
        backtest_result,
        root,
        backtest_files,
    )
    artifact_key = f"backfill-{backtest_result.dataset.replace('_', '-')}"
    table_rows = [
        {
            metric_name: round(metric_value, 4) if isinstance(metric_value, float) else metric_value
            for metric_name, metric_value in backtest_chunk.row().items()
        }
        for backtest_chunk in backtest_result.chunks
    ]
    create_table_artifact(
        markdown_rows(table_rows),
        key=artifact_key,
        description="Metrics of each chunk; every event is predicted from earlier events",
    )
    create_link_artifact(backtest_files.page.resolve().as_uri(), key=f"{artifact_key}-page")
    return backtest_files, run_id


def backtest_dir_of_source(
    dataset_spec: DatasetSpec,
    period: BacktestConfig,
    ingestion: IngestSettings,
    predictor_info: Predictor,
) -> Path:
    """Folder of a backtest, distinct for each source, noise filter, period and predictor."""
    source_config = f"{dataset_spec.model_dump_json()}\n{ingestion.noise.model_dump_json()}"
    return backtest_dir(ingestion.root, dataset_spec.name, period, predictor_info, source_config)


def _ingest_and_evaluate(
    dataset: str,
    backtest_chunk: BacktestChunk,
    period: BacktestConfig,
    ingestion: IngestSettings,
    predictor_info: Predictor,
) -> ChunkResult:
    ingestion_counts = _ingest_chunk(dataset, backtest_chunk, ingestion)
    feature_snapshot = write_features.fn(dataset, ingestion)
    return ChunkResult(
        chunk=backtest_chunk.number,
        start=format_minute(backtest_chunk.start_s),
        end=format_minute(backtest_chunk.end_s),
        counts=ingestion_counts,
        metrics=evaluate_chunk(feature_snapshot.path, backtest_chunk, period, predictor_info),
        events_version=str(DataVersion.parse(feature_snapshot.data_version).events),
    )


def _ingest_chunk(
    dataset: str, backtest_chunk: BacktestChunk, ingestion: IngestSettings
) -> ChunkCounts:
    """Merge a chunk's rows into the lake; the first chunk includes rows with an unreadable time."""
    dataset_spec = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir)
    event_lake = open_private_lake(dataset_spec, ingestion.root)
    ingest_batches = rows_in_window(
        read_batches(dataset_spec, ingestion.batch_rows),
        backtest_chunk.start_s,
        backtest_chunk.end_s,
        with_refused=backtest_chunk.number == 1,
    )
    try:
        ingest_report = ingest(
            ingest_batches,
            row_check=batch_check(event_lake, ingestion.suites_dir),
            lake=event_lake,
            run_id=f"{dataset_spec.name}-backfill-{backtest_chunk.start_s}-{backtest_chunk.end_s}",
            source=dataset_spec.name,
            user_buckets=dataset_spec.user_buckets,
        )
    except NotEnoughData:  # a chunk without events
        return ChunkCounts()
    return ChunkCounts(
        n_read=ingest_report.n_read,
        n_new=ingest_report.n_good - ingest_report.n_duplicates,
        n_duplicates=ingest_report.n_duplicates,
        n_quarantined=ingest_report.n_quarantined,
        n_dropped=ingest_report.n_dropped,
    )
