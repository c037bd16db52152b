"""The ingestion benchmark does what the flow does and leaves no row out."""

from pathlib import Path

from benchmarks import ingest
from flows.ingest_events import IngestSettings


def test_batches_are_as_large_as_the_flow_takes_them() -> None:
    assert IngestSettings.model_fields["batch_rows"].default == ingest.BATCH_ROWS


def test_both_ways_take_the_whole_file_and_stages_add_up(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    ingest.generate(path, 2_000)
    assert sum(len(batch.rows) for batch in ingest.batches(path)) == 2_000
    for way in ("duckdb", "chronotope"):
        assert min(ingest.measure(way, path)[key] for key in ("rows_per_s", "peak_mb")) > 0
    row = ingest.measure("stages", path)
    stages = [row[f"{name}_s"] for name in ("read", "normalise", "check", "stage", "commit")]
    assert 0 < sum(stages) <= row["seconds"] + 0.01
