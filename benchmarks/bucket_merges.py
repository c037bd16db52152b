"""Cost of merging a later delivery by number of buckets: ``python -m benchmarks.bucket_merges``."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from chronotope.contracts.ids import event_ids
from chronotope.lake import Lake

_BATCH_ROWS = 500_000
_EVENTS_OF_USER = 100


def event_rows(first: int, last: int, n_users: int) -> pa.Table:
    """Events of consecutive numbers; the same number is the same event.

    Args:
        first: First number.
        last: Number after the last one.
        n_users: Number of users.
    """
    numbers = np.arange(first, last)
    user_numbers = numbers * 2_654_435_761 % 2**32 % n_users
    coordinates = np.random.default_rng(first).random((2, len(numbers)))
    return pa.table(
        {
            "event_id": event_ids([pa.array(numbers)]),
            "user_id": pa.array(user_numbers).cast(pa.string()),
            "item_id": pa.array(user_numbers % 1_000).cast(pa.string()),
            "event_type": pa.repeat("view", len(numbers)),
            "occurred_at": pa.array(numbers * 1_000_000, pa.timestamp("us", tz="UTC")),
            "lat": coordinates[0],
            "lon": coordinates[1],
        }
    )


def deliver(root: Path, n_buckets: int, first: int, last: int, n_users: int) -> dict[str, Any]:
    """Stage and merge the events of some numbers; cost of the merge alone.

    Args:
        root: Folder of the lake.
        n_buckets: Number of buckets of a new table.
        first: First number.
        last: Number after the last one.
        n_users: Number of users.
    """
    lake = Lake(root)
    with lake.delivery(n_buckets) as delivery:
        for start in range(first, last, _BATCH_ROWS):
            delivery.add(event_rows(start, min(start + _BATCH_ROWS, last), n_users))
        started_s, processor_s = time.perf_counter(), time.process_time()
        counts = lake.merge_delivery(delivery)
        return {
            "n_buckets": n_buckets,
            "n_inserted": counts.inserted,
            "n_duplicates": counts.duplicates,
            "wall_s": round(time.perf_counter() - started_s, 2),
            "cpu_s": round(time.process_time() - processor_s, 2),
            "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        }


def main() -> None:
    """Measure both deliveries for each number of buckets, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=float, default=1e6, help="events of the first delivery")
    parser.add_argument("--delivery", type=float, default=2e5, help="events of the later one")
    parser.add_argument("--buckets", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--one", type=json.loads, help="one measurement, as started by this one")
    options = parser.parse_args()
    if options.one is not None:
        root, *numbers = options.one
        print(json.dumps(deliver(Path(root), *numbers)))
        return
    n_events, n_later = int(options.events), int(options.delivery)
    ranges = {"first": (0, n_events), "later": (n_events - n_later // 2, n_events + n_later // 2)}
    n_users = max(1, n_events // _EVENTS_OF_USER)
    for n_buckets in options.buckets:
        with tempfile.TemporaryDirectory() as root:
            for name, (first, last) in ranges.items():
                one = json.dumps([root, n_buckets, first, last, n_users])
                command = [sys.executable, "-m", "benchmarks.bucket_merges", "--one", one]
                done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
                print(name, done.stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
