"""Compaction: the small files of many deliveries become large ones, bucket by bucket.

Rows, their order within a bucket and the schema stay; one commit per table, whose files are marked
as no change of data. Earlier versions stay readable, so the small files stay on the disk until
earlier versions are given up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable, WriterProperties
from deltalake.exceptions import DeltaError

from chronotope.contracts import columns as c
from chronotope.lake.staged_batch import NO_CLEANUP
from chronotope.lake.store import Lake
from chronotope.lake.store_errors import translate_store_errors

COMPACTED_TABLES: Final = ("events", "quarantine")
"""Tables to which each delivery adds files."""

TARGET_BYTES: Final = 2**27
"""Size of a large file, bytes: one is in memory at a time while it is written."""

_ATTEMPTS: Final = 10
_GROUP_ROWS: Final = 100_000


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """Files of a table before and after a compaction.

    Attributes:
        table: Name of the table.
        n_before: Number of files before.
        n_files: Number of files now; before a run, what file sizes let expect.
        n_bytes: Size of all files before, bytes.
        n_rows: Number of rows.
        version: Version of the table now.
    """

    table: str
    n_before: int
    n_files: int
    n_bytes: int
    n_rows: int
    version: int


def plan_compaction(lake: Lake, *, target_bytes: int = TARGET_BYTES) -> list[CompactionReport]:
    """What ``compact_files`` would do to each table; nothing is changed.

    Args:
        lake: Lake of the dataset.
        target_bytes: Size up to which files are joined, bytes.

    Raises:
        StoreError: The lake cannot be read.
    """
    reports = []
    for table_name in filter(lake.exists, COMPACTED_TABLES):
        with translate_store_errors(table_name):
            reports.append(
                _plan_table(DeltaTable(lake.address(table_name)), table_name, target_bytes)
            )
    return reports


def compact_files(lake: Lake, *, target_bytes: int = TARGET_BYTES) -> list[CompactionReport]:
    """Join the small files of each table; a table without two that fit into one is left alone.

    Readers go on with the version that they have opened. A delivery that is committed meanwhile
    stays as it is; one that was prepared before and is committed after is compared again with its
    buckets. After a kill the previous version is the latest.

    Args:
        lake: Lake of the dataset.
        target_bytes: Size up to which files are joined, bytes.

    Raises:
        StoreError: The lake cannot be written.
    """
    reports = []
    for table_name in filter(lake.exists, COMPACTED_TABLES):
        with translate_store_errors(table_name):
            reports.append(_compact_table(lake.address(table_name), table_name, target_bytes))
    return reports


def _compact_table(address: str, table_name: str, target_bytes: int) -> CompactionReport:
    """Compact one table; again if rows were erased or rewritten meanwhile."""
    for attempt in range(1, _ATTEMPTS + 1):
        delta_table = DeltaTable(address)
        plan = _plan_table(delta_table, table_name, target_bytes)
        if plan.n_files == plan.n_before:
            return plan
        try:
            delta_table.optimize.compact(
                target_size=target_bytes,
                max_concurrent_tasks=1,
                writer_properties=WriterProperties(
                    compression="SNAPPY", max_row_group_size=_GROUP_ROWS, write_batch_size=8_192
                ),
                post_commithook_properties=NO_CLEANUP,
            )
        except (DeltaError, OSError):  # an erasure also removes the files that are being read
            if attempt == _ATTEMPTS or DeltaTable(address).version() == plan.version:
                raise
        else:
            break
    compacted = DeltaTable(address)
    return CompactionReport(
        table_name,
        plan.n_before,
        len(compacted.file_uris()),
        plan.n_bytes,
        _n_rows(compacted),
        compacted.version(),
    )


def _plan_table(delta_table: DeltaTable, table_name: str, target_bytes: int) -> CompactionReport:
    add_actions = pa.table(delta_table.get_add_actions(flatten=True))
    bucket_column, sizes = f"partition.{c.USER_BUCKET}", add_actions.column("size_bytes")
    buckets = (
        add_actions.column(bucket_column).to_pylist()
        if bucket_column in add_actions.column_names
        else [0] * len(add_actions)
    )
    sizes_by_bucket: dict[object, list[int]] = {}
    for bucket, n_bytes in zip(buckets, sizes.to_pylist(), strict=True):
        sizes_by_bucket.setdefault(bucket, []).append(int(n_bytes))
    n_expected = sum(
        _n_joined_files(bucket_sizes, target_bytes) for bucket_sizes in sizes_by_bucket.values()
    )
    return CompactionReport(
        table=table_name,
        n_before=len(add_actions),
        n_files=n_expected,
        n_bytes=sum(map(sum, sizes_by_bucket.values())),
        n_rows=_n_rows(delta_table),
        version=delta_table.version(),
    )


def _n_joined_files(file_sizes: Iterable[int], target_bytes: int) -> int:
    """Number of files once small ones are joined in bins of the target's size.

    Example:
        >>> _n_joined_files([10, 10, 10, 95, 200], 100)
        3
    """
    n_large, bin_sizes = 0, list[int]()
    for n_bytes in file_sizes:
        if n_bytes >= target_bytes:
            n_large += 1
        elif bin_sizes and bin_sizes[-1] + n_bytes <= target_bytes:
            bin_sizes[-1] += n_bytes
        else:
            bin_sizes.append(n_bytes)
    return n_large + len(bin_sizes)


def _n_rows(delta_table: DeltaTable) -> int:
    return int(delta_table.to_pyarrow_dataset().count_rows())
