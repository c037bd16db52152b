"""The table of a backfill shows moments and metrics in full on a terminal of 80 columns."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from chronotope.cli.backfill import _table
from chronotope.pipelines.results import (
    BacktestFiles,
    BacktestSummary,
    ChunkCounts,
    ChunkMetrics,
    ChunkResult,
)

METRICS = {"acc_1": 0.101, "acc_10": 0.202, "ndcg_10": 0.303, "mrr": 0.404}
APART = {"return_acc_10": 0.505, "discovery_acc_10": 0.606}


def chunk(number: int, day: str, *, seen: bool) -> ChunkResult:
    counts = {"n_events": 123_456, "n_targets": 123_456, "n_return": 5, "n_discovery": 5}
    return ChunkResult(
        chunk=number,
        start=f"{day} 00:00",
        end="",
        counts=ChunkCounts(n_read=123_456, n_new=123_456),
        metrics=ChunkMetrics(seen=seen, **counts, **METRICS, **APART),
        events_version="1",
    )


@pytest.mark.parametrize("seen", [True, False])
def test_rows_fit_and_chunks_of_the_training_are_marked(*, seen: bool) -> None:
    backtest = BacktestSummary(
        version="1",
        chunks=(chunk(1, "2024-08-01", seen=seen), chunk(2, "2024-08-15", seen=False)),
        mean_metrics={"n_targets": 123_456, **METRICS, **APART},
        files=BacktestFiles(page=Path("page"), table=Path("table")),
        run_id="",
    )
    terminal = Console(file=io.StringIO(), width=80)
    terminal.print(_table(backtest))
    text = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    assert ("2024-08-01*" in text, "2024-08-15*" in text) == (seen, False)
    assert ("* seen in training" in text) is seen
    for value in ("123,456", "0.101", "0.202", "0.303", "0.404", "0.505", "0.606"):
        assert text.count(value) >= 3, value
