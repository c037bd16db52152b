"""Validated ingestion against a bare DuckDB scan-and-write of the same file.

Run ``python -m benchmarks.ingest --events 5000000 [--json FILE]``.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts import columns as c
from chronotope.contracts.ids import event_ids
from chronotope.contracts.schemas import EVENTS, INSTANT
from chronotope.ingestion import IngestBatch, ingest
from chronotope.lake import Lake
from chronotope.lake.rows import conform, conformed_schema
from chronotope.validation import check_events

SUITE = Path(__file__).parents[1] / "expectations" / "events.json"
BATCH_ROWS = 500_000


def main() -> None:
    """Generate the file, measure both ways in their own process, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=("chronotope", "duckdb"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args.only, args.file)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.parquet"
        generate(path, args.events)
        rows = [measured_apart(name, path) for name in ("duckdb", "chronotope")]
    rows[1]["ratio"] = round(rows[1]["seconds"] / rows[0]["seconds"], 2)
    for row in rows:
        print(row)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def generate(path: Path, n_events: int) -> None:
    """Write events of 100,000 users and 50,000 items, seeded, batch by batch."""
    rng = np.random.default_rng(7)
    schema = pa.schema([field for field in EVENTS if field.name not in {c.EVENT_ID, c.SESSION_ID}])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, n_events, BATCH_ROWS):
            n = min(BATCH_ROWS, n_events - start)
            item = pa.array(rng.integers(0, 50_000, n)).cast(pa.string())
            at = rng.integers(1_500_000_000, 1_700_000_000, n) * 1_000_000
            columns = [
                pa.array(rng.integers(0, 100_000, n)).cast(pa.string()),
                item,
                pa.repeat("view", n),
                pa.array(at).cast(INSTANT),
                pa.array(rng.integers(-12, 13, n) * 60, pa.int32()),
                item,
                pa.array(rng.uniform(-90, 90, n)),
                pa.array(rng.uniform(-180, 180, n)),
                pa.array(rng.uniform(0, 5, n)),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def measured_apart(name: str, path: Path) -> dict[str, float]:
    """Measure in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.ingest", "--only", name, "--file", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    row: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def measure(name: str, path: Path) -> dict[str, object]:
    """Seconds, rows/s and peak memory of one way to write the file."""
    check = check_events(SUITE, now=datetime.now(UTC)) if name == "chronotope" else None
    n_rows = pq.read_metadata(path).num_rows
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        if check is None:
            target = str(Path(folder) / "copy.parquet")
            duckdb.read_parquet(str(path)).write_parquet(target)
        else:
            lake = Lake(Path(folder))
            ingest(batches(path), check=check, lake=lake, run_id="benchmark", source=str(path))
        seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "name": name,
        "n_rows": n_rows,
        "seconds": round(seconds, 3),
        "rows_per_s": round(n_rows / seconds),
        "peak_mb": round(peak_mb),
    }


def batches(path: Path) -> Iterator[IngestBatch]:
    """Read the file in batches and give each event its id."""
    nothing = pa.schema([("row", pa.int64()), (c.REASONS, pa.list_(pa.string()))]).empty_table()
    for record_batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS):
        raw = pa.Table.from_batches([record_batch])
        identity = [raw.column(name) for name in (c.USER_ID, c.ITEM_ID, c.OCCURRED_AT)]
        rows = raw.append_column(c.EVENT_ID, event_ids(identity))
        rows = conform(rows, conformed_schema(rows.schema, EVENTS))
        yield IngestBatch(raw, rows, np.arange(len(raw)), nothing)


if __name__ == "__main__":
    main()
