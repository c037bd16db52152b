"""Table, page and MLflow run of a backtest."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv

from chronotope.pipelines.backtest import METRICS, BacktestConfig, mean_metrics
from chronotope.pipelines.results import BacktestFiles, ChunkResult
from chronotope.registry.mlflow_store import open_store
from chronotope.report.backtest_page import BacktestData, render_backtest
from chronotope.report.page import write_page
from chronotope.runtime.workspace import Workspace

PAGE: Final = "backfill.html"
TABLE: Final = "backfill.csv"


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """A finished backtest.

    Attributes:
        dataset: Name of the dataset.
        config: Period and protocol.
        version: Version that predicted.
        run_dir: Folder of the backtest.
        chunks: Results of the chunks, earliest first.
    """

    dataset: str
    config: BacktestConfig
    version: str
    run_dir: Path
    chunks: tuple[ChunkResult, ...]

    def mean_metrics(self) -> dict[str, float | None]:
        """Means over the targets that were not seen in training."""
        return mean_metrics([chunk.metrics for chunk in self.chunks])


def write_backtest(result: BacktestResult) -> BacktestFiles:
    """Write the table and the page into the folder of the backtest."""
    page_path, table_path = result.run_dir / PAGE, result.run_dir / TABLE
    table_rows = [chunk.row() for chunk in result.chunks]
    page_data = BacktestData(
        result.dataset,
        _protocol_facts(result),
        [_page_row(row) for row in table_rows],
        result.mean_metrics(),
        datetime.now(UTC),
    )
    write_page(render_backtest(page_data), page_path)
    pyarrow.csv.write_csv(pa.Table.from_pylist(table_rows), table_path)
    return BacktestFiles(page=page_path, table=table_path)


def log_backtest(result: BacktestResult, root: Path, files: BacktestFiles) -> str:
    """Log the metrics over time, the table and the page to a run in MLflow.

    Args:
        result: The backtest; each chunk is a step.
        root: Project root.
        files: Result of ``write_backtest``.

    Returns:
        Id of the MLflow run.
    """
    store, config = open_store(Workspace(root).mlruns), result.config
    tags = {"dataset": result.dataset, "backfill": result.run_dir.name, "version": result.version}
    run_name = f"backfill {config.start} to {config.end}"
    with store.run(result.dataset, run_name, tags=tags) as tracker:
        tracker.params({**config.model_dump(mode="json"), "version": result.version})
        for chunk in result.chunks:
            metrics = chunk.metrics.model_dump(include={*METRICS, "n_targets"}, exclude_none=True)
            tracker.metrics(
                {f"stream/{name}": value for name, value in metrics.items()}, step=chunk.chunk
            )
        means = result.mean_metrics()
        tracker.metrics({name: value for name, value in means.items() if value is not None})
        for path in (files.page, files.table):
            tracker.artifact(path, folder="backfill")
    return tracker.run_id


def _page_row(table_row: dict[str, Any]) -> dict[str, Any]:
    return {"from": table_row["start"], **table_row}


def _protocol_facts(result: BacktestResult) -> tuple[str, ...]:
    config = result.config
    return (
        f"{config.start} to {config.end}, {config.chunk_h} h a chunk",
        f"version {result.version}",
        f"predict, then update; time {'given' if config.time_given else 'hidden'}; full catalogue",
    )
