"""A random log, and lakes that hold it in some number of buckets of users."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from chronotope.contracts.schemas import EVENTS
from chronotope.features.buckets import EventBuckets
from chronotope.lake import Lake
from chronotope.lake.bucketed import with_buckets

N_EVENTS = 4_000
"""Events of the log."""


def random_log(n_events: int = N_EVENTS) -> pa.Table:
    """Events with ties of time, missing values and ids out of order; an item is rarely seen."""
    rng = np.random.default_rng(7)

    def texts(prefix: str, n_values: int, missing: float) -> pa.Array:
        is_missing = rng.random(n_events) < missing
        values = [f"{prefix}{n}" for n in rng.integers(0, n_values, n_events)]
        return pa.array(values, pa.string(), mask=is_missing)

    lat = rng.normal(48, 0.01, n_events).round(3)
    lat[rng.random(n_events) < 0.1] = np.nan
    seconds = rng.integers(0, 200_000, n_events)
    columns = {
        "event_id": [f"{n:032x}" for n in rng.permutation(n_events)],
        "user_id": texts("u", n_events // 50, 0),
        "item_id": texts("i", n_events // 4, 0),
        "event_type": texts("type", 2, 0),
        "occurred_at": pa.array(seconds * 10**6 + 3).cast(EVENTS.field("occurred_at").type),
        "utc_offset_min": pa.array(rng.integers(-60, 60, n_events), pa.int32()),
        "place_id": texts("p", 40, 0.2),
        "lat": lat,
        "lon": rng.normal(16, 0.01, n_events).round(3),
        "value": pa.array(rng.random(n_events), mask=rng.random(n_events) < 0.3),
        "session_id": texts("s", 5, 0.3),
        "category": texts("c", 3, 0.3),
        "quantity": pa.array(rng.random(n_events), mask=rng.random(n_events) < 0.3),
    }
    return pa.table(columns)


def lake_in_buckets(root: Path, rows: pa.Table, n_buckets: int) -> Lake:
    """A lake whose events are partitioned into some number of buckets."""
    lake = Lake(root)
    write_deltalake(
        lake.address("events"),
        with_buckets(rows, n_buckets) if n_buckets > 1 else rows,
        partition_by=["user_bucket"] if n_buckets > 1 else None,
    )
    return lake


def whole_buckets(lake: Lake) -> EventBuckets:
    """All events of a lake."""
    version = lake.table_version("events")
    return EventBuckets(lake, version, (None,) * lake.n_buckets(version))


def bucket_order(lake: Lake) -> pa.Table:
    """Events of a lake, one bucket after the other."""
    return pa.concat_tables(
        [lake.bucket_rows(bucket).to_table() for bucket in range(lake.n_buckets())]
    )
