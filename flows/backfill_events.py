"""Replay a period in chunks: take it in, and measure how well it was foreseen."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_table_artifact

from chronotope.contracts.data_version import EVENTS, DataVersion
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
    evaluate_chunk,
    forget_if_replaced,
    format_minute,
    mean_metrics,
    resolve_predictor,
    split_period,
)
from chronotope.pipelines.ingest_checks import batch_check
from chronotope.pipelines.publish_backtest import BacktestResult, log_backtest, write_backtest
from chronotope.runtime.step_cache import run_step
from chronotope.runtime.workspace import Workspace
from flows import dataset_lock_in_flow
from flows.ingest_events import TASK, IngestSettings, read_batches, write_features

COUNTS = ("n_read", "n_good", "n_duplicates", "n_quarantined")


@flow(name="backfill-events", result_serializer="json")
def backfill_events(
    dataset: str,
    period: BacktestConfig,
    ingestion: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Replay a period in chunks through ingestion, features, and predict-then-update.

    Each chunk's rows are read from the dataset's own source and merged into the lake; then
    each of its events is predicted from what was known before it. What the lake has already is
    not written twice. A run that was killed goes on after its last finished chunk.

    Args:
        dataset: Name of a file in conf/datasets, or the path of such a YAML file.
        period: Days, length of the chunks, and who predicts.
        ingestion: Where data are, and how rows are checked.

    Returns:
        ``version``, ``rows`` (a chunk each), ``mean_metrics`` (chunks that were seen in training
        left out), ``page``, ``table`` and ``mlflow_run``.
    """
    spec = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir)
    with dataset_lock_in_flow(Workspace(ingestion.root), spec.name):
        who = resolve_predictor(ingestion.root, spec.name, period.version)
        run = backtest_dir_of(spec, period, ingestion, who)
        forget_if_replaced(run, Lake(Workspace(ingestion.root).lake(spec.name)))
        rows = [
            replay_chunk(dataset, chunk, period, ingestion, who, run)
            for chunk in split_period(period)
        ]
        done = BacktestResult(spec.name, period, who["version"], run, rows)
        written = publish_stream(done, ingestion.root)
    return {"version": who["version"], "rows": rows, "overall": mean_metrics(rows), **written}


@task(**TASK)
def replay_chunk(
    dataset: str,
    chunk: BacktestChunk,
    period: BacktestConfig,
    ingestion: IngestSettings,
    who: dict[str, Any],
    run: Path,
) -> dict[str, Any]:
    """Take one chunk in and measure it, once a backfill.

    Args:
        dataset: Name or YAML file.
        chunk: Its stretch of time.
        period: The protocol.
        ingestion: Where things are.
        who: What ``resolve_predictor`` returned.
        run: Folder of the backfill.

    Returns:
        Its number, ``from`` and ``to``, counts of rows and targets, and the metrics.
    """
    work = lambda: _played(dataset, chunk, period, ingestion, who)  # noqa: E731
    row = dict(run_step(run, chunk.step, work)["row"])
    words = ", ".join(f"{name} {row[name]:.3f}" for name in METRICS if row[name] is not None)
    get_run_logger().info("%s: %d targets, %s", row["from"], row["n_targets"], words or "no metric")
    return row


@task(**TASK)
def publish_stream(done: BacktestResult, root: Path) -> dict[str, str]:
    """Write table and page, log the metrics over time, and show them beside the run.

    Args:
        done: The backfill.
        root: Project root.
    """
    written = dict(run_step(done.run, "write_backtest", lambda: write_backtest(done)))
    logged = run_step(done.run, "log_backtest", lambda: log_backtest(done, root, written))
    key = f"backfill-{done.dataset.replace('_', '-')}"
    shown = [
        {name: round(of, 4) if isinstance(of, float) else of for name, of in row.items()}
        for row in done.rows
    ]
    create_table_artifact(
        markdown_rows(shown), key=key, description="Predict, then update: metrics over time"
    )
    create_link_artifact(Path(written["page"]).resolve().as_uri(), key=f"{key}-page")
    return {**written, "mlflow_run": logged}


def backtest_dir_of(
    spec: DatasetSpec, period: BacktestConfig, ingestion: IngestSettings, who: dict[str, Any]
) -> Path:
    """Folder of a backfill; another source, noise filter or predictor has another one."""
    source = f"{spec.model_dump_json()}\n{ingestion.noise.model_dump_json()}"
    return backtest_dir(ingestion.root, spec.name, period, who, source)


def _played(
    dataset: str,
    chunk: BacktestChunk,
    period: BacktestConfig,
    ingestion: IngestSettings,
    who: dict[str, Any],
) -> dict[str, Any]:
    taken = _take_in(dataset, chunk, ingestion)
    features = write_features.fn(dataset, ingestion)
    about = {
        "chunk": chunk.number,
        "from": format_minute(chunk.start_s),
        "to": format_minute(chunk.end_s),
    }
    row = {**about, **taken, **evaluate_chunk(Path(features["path"]), chunk, period, who)}
    return {"row": row, EVENTS: str(DataVersion.parse(features["data_version"]).events)}


def _take_in(dataset: str, chunk: BacktestChunk, ingestion: IngestSettings) -> dict[str, int]:
    """Merge a chunk's rows; the first one also takes those whose time nobody can read."""
    spec = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir)
    lake = Lake(Workspace(ingestion.root).lake(spec.name))
    batches = rows_in_window(
        read_batches(spec, ingestion.batch_rows),
        chunk.start_s,
        chunk.end_s,
        with_refused=chunk.number == 1,
    )
    try:
        report = asdict(
            ingest(
                batches,
                check=batch_check(lake, ingestion.suites),
                lake=lake,
                run_id=f"{spec.name}-backfill-{chunk.start_s}-{chunk.end_s}",
                source=spec.name,
            )
        )
    except NotEnoughData:  # nothing happened
        report = dict.fromkeys(COUNTS, 0)
    counts = {name: int(report[name]) for name in COUNTS}
    return {**counts, "n_new": counts.pop("n_good") - counts["n_duplicates"], **counts}
