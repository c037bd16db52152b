"""Partition column ``user_bucket`` of the events table, and the number of buckets stored with it.

The number is metadata of the column in the table's schema, so that it belongs to the version: a
version before a migration keeps its own. Data files do not hold the column; Delta takes its value
from the commit.
"""

from typing import Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import DeltaTable

from chronotope.contracts import columns as c
from chronotope.contracts.errors import StoreError
from chronotope.contracts.user_buckets import MAX_BUCKETS, user_buckets

_N_BUCKETS: Final = "chronotope.n_buckets"


def bucket_field(n_buckets: int) -> pa.Field:
    """Field of the partition column of a table with some number of buckets.

    Args:
        n_buckets: Number of buckets.
    """
    return pa.field(
        c.USER_BUCKET, pa.int32(), nullable=False, metadata={_N_BUCKETS: str(n_buckets)}
    )


def with_buckets(rows: pa.Table, n_buckets: int) -> pa.Table:
    """Rows of events with the partition column, the last one; replaces one that they have.

    Args:
        rows: Rows with ``user_id``.
        n_buckets: Number of buckets.
    """
    if c.USER_BUCKET in rows.column_names:
        rows = rows.drop_columns(c.USER_BUCKET)
    buckets = user_buckets(rows.column(c.USER_ID), n_buckets)
    return rows.append_column(bucket_field(n_buckets), pa.array(buckets))


def count_buckets(delta_table: DeltaTable) -> int:
    """Number of buckets of an opened table version; 1 where it is not partitioned.

    Args:
        delta_table: The events table.

    Raises:
        StoreError: The table is partitioned in another way.
    """
    partition_columns = delta_table.metadata().partition_columns
    if not partition_columns:
        return 1
    bucket_fields = [field for field in delta_table.schema().fields if field.name == c.USER_BUCKET]
    n_text = str(bucket_fields[0].metadata.get(_N_BUCKETS, "")) if bucket_fields else ""
    is_valid = n_text.isdecimal() and 1 <= int(n_text) <= MAX_BUCKETS
    if partition_columns != [c.USER_BUCKET] or not is_valid:
        raise StoreError(
            "The table of the events is not partitioned as Chronotope does",
            received=f"partition columns {partition_columns}, {n_text or 'no'} buckets",
            way_out="Copy its rows into a table without partitions, and run `chronotope rebucket`",
        )
    return int(n_text)


def require_bucket(delta_table: DeltaTable, bucket: int) -> DeltaTable:
    """The table, which has a bucket.

    Args:
        delta_table: The events table at a version.
        bucket: The bucket.

    Raises:
        StoreError: The table has no such bucket.
    """
    n_buckets = count_buckets(delta_table)
    if not 0 <= bucket < n_buckets:
        raise StoreError(
            "The events have no such bucket of users",
            received=f"bucket {bucket} of {n_buckets}",
            way_out=f"Choose 0 to {n_buckets - 1}",
        )
    return delta_table


def bucket_rows(delta_table: DeltaTable, bucket: int | None = None) -> pads.Dataset:
    """Rows of a table without the partition column, as a dataset that can be scanned.

    Args:
        delta_table: A table at a version; only that of the events has buckets.
        bucket: Bucket whose files are scanned; None for all files.
    """
    arrow_schema = pa.schema(delta_table.schema().to_arrow())
    partition_idx = arrow_schema.get_field_index(c.USER_BUCKET)
    if partition_idx < 0 or not delta_table.metadata().partition_columns:
        return delta_table.to_pyarrow_dataset(schema=arrow_schema)
    dataset = delta_table.to_pyarrow_dataset(
        schema=arrow_schema, file_pruning_predicate=_in_bucket(bucket)
    )
    return dataset.replace_schema(arrow_schema.remove(partition_idx))


def bucket_uris(delta_table: DeltaTable, bucket: int) -> list[str]:
    """Paths or addresses of the files of a bucket; all files where the table has no buckets.

    Args:
        delta_table: The events table at a version.
        bucket: The bucket.
    """
    is_partitioned = bool(delta_table.metadata().partition_columns)
    uris = delta_table.file_uris(
        file_pruning_predicate=_in_bucket(bucket) if is_partitioned else None
    )
    return [unquote(file_uri) for file_uri in uris]


def _in_bucket(bucket: int | None) -> list[tuple[str, str, int]] | None:
    return None if bucket is None else [(c.USER_BUCKET, "=", bucket)]
