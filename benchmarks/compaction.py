"""Cost of reading a lake of many small deliveries, before and after it is compacted.

``python -m benchmarks.compaction``
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.bucket_merges import event_rows
from chronotope.lake import Lake
from chronotope.lake.bucketed.compact_files import compact_files

_COLUMNS = ["user_id", "item_id", "occurred_at"]
_REPEATS = 5


def processor_s(work: Callable[[], object]) -> float:
    """Least processor seconds of several runs."""
    costs = []
    for _ in range(_REPEATS):
        started_s = time.process_time()
        work()
        costs.append(time.process_time() - started_s)
    return round(min(costs), 4)


def read_costs(lake: Lake, n_buckets: int) -> dict[str, object]:
    """Processor seconds of reading columns of all events and of one bucket, and counts of files."""

    def read_bucket() -> object:
        return lake.bucket_rows(n_buckets // 2).to_table(columns=_COLUMNS)

    return {
        "n_files": len(lake.files("events")),
        "n_rows": int(lake.dataset("events").count_rows()),
        "all_s": processor_s(lambda: lake.read("events", columns=_COLUMNS)),
        "bucket_s": processor_s(read_bucket),
    }


def deliver(lake: Lake, n_buckets: int, first: int, last: int, n_users: int) -> float:
    """Processor seconds of staging and merging the events of some numbers."""
    started_s = time.process_time()
    with lake.delivery(n_buckets) as delivery:
        delivery.add(event_rows(first, last, n_users))
        lake.merge_delivery(delivery)
    return round(time.process_time() - started_s, 4)


def main() -> None:
    """Deliver, read, compact, read again, and make one more delivery into each lake."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=100)
    parser.add_argument("--rows", type=int, default=5_000, help="events of a delivery")
    parser.add_argument("--buckets", type=int, default=8)
    options = parser.parse_args()
    n_rows, n_buckets = options.rows, options.buckets
    n_events = options.deliveries * n_rows
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        for first in range(0, n_events, n_rows):
            deliver(lake, n_buckets, first, first + n_rows, n_events // 100)
        later = (n_events, n_events // 100)
        before = read_costs(lake, n_buckets)
        before["delivery_s"] = deliver(lake, n_buckets, later[0], later[0] + n_rows, later[1])
        started_s = time.process_time()
        compact_files(lake)
        compaction_s = round(time.process_time() - started_s, 2)
        after = read_costs(lake, n_buckets)
        after["delivery_s"] = deliver(
            lake, n_buckets, later[0] + n_rows, later[0] + 2 * n_rows, later[1]
        )
    print(json.dumps({"before": before, "compaction_s": compaction_s, "after": after}))


if __name__ == "__main__":
    main()
