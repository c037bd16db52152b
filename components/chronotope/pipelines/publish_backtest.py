"""What a backfill leaves to look at: a table, a page, and a run in MLflow."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv

from chronotope.pipelines.backtest import METRICS, BacktestConfig, mean_metrics
from chronotope.registry.mlflow_store import open_store
from chronotope.report.backtest_page import BacktestData, render_backtest
from chronotope.report.page import write_page
from chronotope.runtime.workspace import Workspace

PAGE: Final = "backfill.html"
TABLE: Final = "backfill.csv"


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """A finished backfill.

    Attributes:
        dataset: Its name.
        config: Period and protocol.
        version: Who predicted.
        run: Its folder.
        rows: A row a chunk.
    """

    dataset: str
    config: BacktestConfig
    version: str
    run: Path
    rows: list[dict[str, Any]]


def write_backtest(done: BacktestResult) -> dict[str, str]:
    """Write the table and the page.

    Returns:
        Paths of the ``page`` and the ``table``.
    """
    page, table = done.run / PAGE, done.run / TABLE
    data = BacktestData(
        done.dataset, _facts(done), done.rows, mean_metrics(done.rows), datetime.now(UTC)
    )
    write_page(render_backtest(data), page)
    pyarrow.csv.write_csv(pa.Table.from_pylist(done.rows), table)
    return {"page": str(page), "table": str(table)}


def log_backtest(done: BacktestResult, root: Path, written: dict[str, str]) -> str:
    """Log a step a chunk to a run in MLflow, with table and page; returns the run.

    Args:
        done: The backfill.
        root: Project root.
        written: What ``write_backtest`` returned.
    """
    store, config = open_store(Workspace(root).mlruns), done.config
    tags = {"dataset": done.dataset, "backfill": done.run.name, "version": done.version}
    name = f"backfill {config.start} to {config.end}"
    with store.run(done.dataset, name, tags=tags) as tracker:
        tracker.params({**config.model_dump(mode="json"), "version": done.version})
        for row in done.rows:
            told = {of: row[of] for of in (*METRICS, "n_targets") if row[of] is not None}
            tracker.metrics(
                {f"stream/{of}": value for of, value in told.items()}, step=row["chunk"]
            )
        means = {of: value for of, value in mean_metrics(done.rows).items() if value is not None}
        tracker.metrics(means)
        for path in written.values():
            tracker.artifact(Path(path), folder="backfill")
    return tracker.run_id


def _facts(done: BacktestResult) -> tuple[str, ...]:
    config = done.config
    return (
        f"{config.start} to {config.end}, {config.chunk_h} h a chunk",
        f"version {done.version}",
        f"predict, then update; time {'given' if config.time_given else 'hidden'}; full catalogue",
    )
