"""Validated ingestion against a bare DuckDB scan-and-write of the same file.

Run ``python -m benchmarks.ingest --events 5000000 [--repeats 5] [--json FILE]``.

The whole ingestion is measured: reading, normalising, event ids, the expectation suite,
removal of duplicates, and one commit to the lake. Great Expectations is opened before that,
once a process (``start_s``). Both programs run in turn, each time in a fresh process;
medians are reported. ``stages`` runs the same work stage by stage and times each.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts import columns as c
from chronotope.contracts.protocols import RowCheck
from chronotope.contracts.schemas import EVENTS, INSTANT
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion import IngestBatch, ingest
from chronotope.lake import Lake
from chronotope.validation import check_events

SUITE = Path(__file__).parents[1] / "expectations" / "events.json"
BATCH_ROWS = 500_000
"""As many as flows/ingest_events.py takes at a time by default."""

WAYS = ("duckdb", "chronotope", "stages")


def main() -> None:
    """Generate the file, measure each program in its own process, print medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args.only, args.file)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.parquet"
        generate(path, args.events)
        rows = compared(path, args.repeats)
    for row in rows:
        print(row)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def compared(path: Path, repeats: int) -> list[dict[str, object]]:
    """Medians of the programs, measured in turn, and Chronotope's ratio to DuckDB."""
    runs = [[measured_apart(way, path) for way in WAYS] for _ in range(repeats)]
    rows = []
    for way, of_way in zip(WAYS, zip(*runs, strict=True), strict=True):
        row: dict[str, object] = {"name": way}
        row |= {key: round(statistics.median(run[key] for run in of_way), 3) for key in of_way[0]}
        row["seconds_from_to"] = sorted(run["seconds"] for run in of_way)[:: max(1, repeats - 1)]
        rows.append(row)
    ratios = [run[1]["seconds"] / run[0]["seconds"] for run in runs]
    rows[1]["ratio"] = round(statistics.median(ratios), 2)
    return rows


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


def measured_apart(way: str, path: Path) -> dict[str, float]:
    """Measure in a separate process, for its own peak memory."""
    command = [sys.executable, "-m", "benchmarks.ingest", "--only", way, "--file", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    row: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def measure(way: str, path: Path) -> dict[str, float]:
    """Seconds, rows/s and peak memory of one program that writes the file."""
    n_rows = pq.read_metadata(path).num_rows
    spent: Counter[str] = Counter()
    with timed(spent, "start_s"):
        check = None if way == "duckdb" else check_events(SUITE, checked_at=datetime.now(UTC))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        if check is None:
            duckdb.read_parquet(str(path)).write_parquet(str(Path(folder) / "copy.parquet"))
        elif way == "chronotope":
            lake = Lake(Path(folder))
            ingest(batches(path), row_check=check, lake=lake, run_id="benchmark", source=str(path))
        else:
            spent += one_after_the_other(path, check, Lake(Path(folder)))
        seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    measured = {"seconds": seconds, "rows_per_s": round(n_rows / seconds), "peak_mb": peak_mb}
    return {name: round(value, 3) for name, value in (measured | spent).items()}


def spec_of(path: Path) -> DatasetSpec:
    """The dataset as its YAML would describe it."""
    columns = {name: name for name in pq.read_schema(path).names}
    events = {"format": "parquet", "path": str(path), "columns": columns}
    about = {"name": "benchmark", "description": "Generated", "licence": "CC0-1.0"}
    return DatasetSpec.model_validate(about | {"events": events})


def batches(path: Path) -> Iterator[IngestBatch]:
    """Read and normalise the file as the flow does."""
    spec = spec_of(path)
    for raw in read_events(spec, batch_rows=BATCH_ROWS):
        done = normalise(spec, raw)
        yield IngestBatch(raw, done.rows, done.row_positions, done.refused, done.dropped)


def one_after_the_other(path: Path, check: RowCheck, lake: Lake) -> Counter[str]:
    """Seconds of each stage."""
    spent: Counter[str] = Counter()
    spec = spec_of(path)
    source = read_events(spec, batch_rows=BATCH_ROWS)
    with lake.delivery() as delivery:
        while True:
            with timed(spent, "read_s"):
                raw = next(source, None)
            if raw is None:
                break
            with timed(spent, "normalise_s"):
                rows = normalise(spec, raw).rows
            with timed(spent, "check_s"):
                check(rows)
            with timed(spent, "stage_s"):
                delivery.add(rows)
        with timed(spent, "commit_s"):
            lake.merge_delivery(delivery)
    return spent


@contextmanager
def timed(spent: Counter[str], stage: str) -> Iterator[None]:
    """Add the seconds of a block to its stage."""
    start = time.perf_counter()
    yield
    spent[stage] += time.perf_counter() - start  # type: ignore[assignment]


if __name__ == "__main__":
    main()
