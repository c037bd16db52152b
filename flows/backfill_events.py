"""Replay a period in chunks: ingest each one, and measure how well it was predicted."""

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_table_artifact

from chronotope.contracts.data_version import DataVersion
from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.escaping import markdown_rows
from chronotope.datasets.loading import load_spec
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion import ingest, rows_in_window
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
from flows.ingest_events import TASK, IngestSettings, read_batches, write_features


@flow(name="backfill-events", result_serializer="json")
def backfill_events(
    dataset: str,
    period: BacktestConfig,
    ingestion: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
) -> BacktestSummary:
    """Replay a period in chunks through ingestion, features, and predict-then-update.

    Each chunk's rows are read from the dataset's own source and merged into the lake; then
    each of its events is predicted from the events before it. Events that the lake holds are
    not written twice. A run that was killed resumes after its last finished chunk.

    Args:
        dataset: Name of a file in conf/datasets, or the path of such a YAML file.
        period: Days, length of the chunks, and the version that predicts.
        ingestion: Location and checks of the data.
    """
    spec = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir)
    with dataset_lock_in_flow(Workspace(ingestion.root), spec.name):
        predictor = resolve_predictor(ingestion.root, spec.name, period.version)
        run_dir = backtest_dir_of_source(spec, period, ingestion, predictor)
        discard_if_lake_replaced(run_dir, Lake(Workspace(ingestion.root).lake(spec.name)))
        chunks = tuple(
            replay_chunk(dataset, chunk, period, ingestion, predictor, run_dir)
            for chunk in split_period(period)
        )
        result = BacktestResult(spec.name, period, predictor.version, run_dir, chunks)
        files, run_id = publish_backtest(result, ingestion.root)
    return BacktestSummary(
        version=predictor.version,
        chunks=chunks,
        mean_metrics=result.mean_metrics(),
        files=files,
        run_id=run_id,
    )


@task(**TASK)
def replay_chunk(
    dataset: str,
    chunk: BacktestChunk,
    period: BacktestConfig,
    ingestion: IngestSettings,
    predictor: Predictor,
    run_dir: Path,
) -> ChunkResult:
    """Ingest and evaluate one chunk, once per backtest.

    Args:
        dataset: Name or YAML file.
        chunk: Part of the period.
        period: Protocol of the evaluation.
        ingestion: Location and checks of the data.
        predictor: Version that predicts.
        run_dir: Folder of the backtest.
    """
    result = run_step(
        run_dir,
        chunk.step_name,
        ChunkResult,
        _ingest_and_evaluate,
        dataset,
        chunk,
        period,
        ingestion,
        predictor,
    )
    metrics = result.metrics.model_dump(include=set(METRICS), exclude_none=True)
    metrics_text = ", ".join(f"{name} {metrics[name]:.3f}" for name in METRICS if name in metrics)
    get_run_logger().info(
        "%s: %d targets, %s", result.start, result.metrics.n_targets, metrics_text or "no metric"
    )
    return result


@task(**TASK)
def publish_backtest(result: BacktestResult, root: Path) -> tuple[BacktestFiles, str]:
    """Write table and page, log the metrics over time, and show both as artifacts of the run.

    Args:
        result: The backtest.
        root: Project root.

    Returns:
        The files, and the id of the MLflow run.
    """
    files = run_step(result.run_dir, "write_backtest", BacktestFiles, write_backtest, result)
    run_id = run_step(result.run_dir, "log_backtest", str, log_backtest, result, root, files)
    key = f"backfill-{result.dataset.replace('_', '-')}"
    table_rows = [
        {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in chunk.row().items()
        }
        for chunk in result.chunks
    ]
    create_table_artifact(
        markdown_rows(table_rows), key=key, description="Predict, then update: metrics over time"
    )
    create_link_artifact(files.page.resolve().as_uri(), key=f"{key}-page")
    return files, run_id


def backtest_dir_of_source(
    spec: DatasetSpec, period: BacktestConfig, ingestion: IngestSettings, predictor: Predictor
) -> Path:
    """Folder of a backtest; another source, noise filter or predictor has another one."""
    source_config = f"{spec.model_dump_json()}\n{ingestion.noise.model_dump_json()}"
    return backtest_dir(ingestion.root, spec.name, period, predictor, source_config)


def _ingest_and_evaluate(
    dataset: str,
    chunk: BacktestChunk,
    period: BacktestConfig,
    ingestion: IngestSettings,
    predictor: Predictor,
) -> ChunkResult:
    counts = _ingest_chunk(dataset, chunk, ingestion)
    features = write_features.fn(dataset, ingestion)
    return ChunkResult(
        chunk=chunk.number,
        start=format_minute(chunk.start_s),
        end=format_minute(chunk.end_s),
        counts=counts,
        metrics=evaluate_chunk(features.path, chunk, period, predictor),
        events_version=str(DataVersion.parse(features.data_version).events),
    )


def _ingest_chunk(dataset: str, chunk: BacktestChunk, ingestion: IngestSettings) -> ChunkCounts:
    """Merge a chunk's rows; the first chunk includes those whose time cannot be read."""
    spec = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir)
    lake = Lake(Workspace(ingestion.root).lake(spec.name))
    batches = rows_in_window(
        read_batches(spec, ingestion.batch_rows),
        chunk.start_s,
        chunk.end_s,
        with_refused=chunk.number == 1,
    )
    try:
        report = ingest(
            batches,
            row_check=batch_check(lake, ingestion.suites),
            lake=lake,
            run_id=f"{spec.name}-backfill-{chunk.start_s}-{chunk.end_s}",
            source=spec.name,
        )
    except NotEnoughData:  # a chunk without events
        return ChunkCounts()
    return ChunkCounts(
        n_read=report.n_read,
        n_new=report.n_good - report.n_duplicates,
        n_duplicates=report.n_duplicates,
        n_quarantined=report.n_quarantined,
    )
