"""Migration of a lake to another number of buckets: one commit that rewrites the events."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from chronotope.contracts import columns as c
from chronotope.contracts.errors import StoreError
from chronotope.contracts.user_buckets import MAX_BUCKETS
from chronotope.lake.bucketed.bucket_column import (
    bucket_field,
    bucket_rows,
    count_buckets,
    with_buckets,
)
from chronotope.lake.bucketed.bucket_commit import AT_ONCE
from chronotope.lake.row_conformance import conform_rows, plain_schema
from chronotope.lake.staged_batch import NO_CLEANUP
from chronotope.lake.store import Lake
from chronotope.lake.store_errors import translate_store_errors

_ATTEMPTS: Final = 10
_BATCH_ROWS: Final = 200_000
_GROUP_ROWS: Final = 100_000
"""Rows of a row group; each bucket has one in memory while the table is rewritten."""

_OPEN_BYTES: Final = 2**30
_SMALLEST_BYTES: Final = 2**24
"""Sizes of files in bytes: of one per bucket together, since Delta holds those that it has not
finished in memory, and of one at least."""


@dataclass(frozen=True, slots=True)
class RebucketReport:
    """Result of a migration.

    Attributes:
        n_before: Number of buckets before.
        n_buckets: Number of buckets now.
        n_rows: Number of events.
        version: Version of the events table now.
    """

    n_before: int
    n_buckets: int
    n_rows: int
    version: int


def plan_rebucket(lake: Lake, n_buckets: int) -> RebucketReport:
    """What ``rebucket_events`` would do, with the present version; nothing is changed.

    Args:
        lake: Lake of the dataset.
        n_buckets: Number of buckets.

    Raises:
        StoreError: The events do not exist.
    """
    _require_number(n_buckets)
    version = lake.version("events")
    n_rows = int(lake.dataset("events", version).count_rows())
    return RebucketReport(lake.n_buckets(version), n_buckets, n_rows, version)


def rebucket_events(lake: Lake, n_buckets: int) -> RebucketReport:
    """Rewrite the events with another number of buckets; earlier versions stay readable.

    The rows are streamed into new files, which one commit names. After a kill the previous version
    is the latest. If another process commits meanwhile, the table is read and rewritten again.

    Args:
        lake: Lake of the dataset.
        n_buckets: Number of buckets; 1 for a table without partitions.

    Raises:
        StoreError: The events do not exist, or the lake could not be written.
    """
    _require_number(n_buckets)
    for attempt in range(1, _ATTEMPTS + 1):
        lake.version("events")  # a lake without events is refused with the way out
        with translate_store_errors("events"):
            delta_table = DeltaTable(lake.address("events"))
            n_before, dataset = count_buckets(delta_table), bucket_rows(delta_table)
            n_rows = int(dataset.count_rows())
            if n_before == n_buckets:
                return RebucketReport(n_before, n_buckets, n_rows, delta_table.version())
            try:
                _rewrite(delta_table, dataset, n_rows, n_buckets)
            except CommitFailedError:
                if attempt == _ATTEMPTS:
                    raise
            else:
                break
    return RebucketReport(n_before, n_buckets, n_rows, lake.version("events"))


def _rewrite(delta_table: DeltaTable, dataset: pads.Dataset, n_rows: int, n_buckets: int) -> None:
    schema = plain_schema(dataset.schema)
    written_schema = schema if n_buckets == 1 else schema.append(bucket_field(n_buckets))

    def batches() -> Iterator[pa.RecordBatch]:
        n_read = 0
        for batch in dataset.to_batches(batch_size=_BATCH_ROWS):
            rows = conform_rows(pa.Table.from_batches([batch]), schema)
            n_read += len(rows)
            yield from (rows if n_buckets == 1 else with_buckets(rows, n_buckets)).to_batches()
        if n_read != n_rows:
            raise StoreError(
                "The migration did not read every event; nothing was changed",
                received=f"{n_read:,} of {n_rows:,}",
                way_out="Run `chronotope doctor`",
            )

    write_deltalake(
        delta_table,
        pa.RecordBatchReader.from_batches(written_schema, batches()),
        mode="overwrite",
        schema_mode="overwrite",
        partition_by=[] if n_buckets == 1 else [c.USER_BUCKET],
        writer_properties=WriterProperties(
            compression="SNAPPY", max_row_group_size=_GROUP_ROWS, write_batch_size=8_192
        ),
        target_file_size=max(_SMALLEST_BYTES, _OPEN_BYTES // n_buckets),
        commit_properties=AT_ONCE,
        post_commithook_properties=NO_CLEANUP,
    )


def _require_number(n_buckets: int) -> None:
    if not 1 <= n_buckets <= MAX_BUCKETS:
        raise StoreError(
            "The events cannot have so many buckets",
            received=f"{n_buckets:,}",
            way_out=f"Choose 1 to {MAX_BUCKETS:,}; about one per 10 million events",
        )
