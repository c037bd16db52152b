"""Erasure of rows from a Delta table, with the files and log entries of all earlier versions.

A deletion alone leaves the rows in the files of earlier versions, and texts of them in the log: the
smallest and largest value of each column of each file, and the condition of the deletion itself.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake

from chronotope.contracts import columns as c
from chronotope.contracts.user_buckets import bucket_of_user
from chronotope.lake.bucketed import bucket_field, count_buckets, with_buckets
from chronotope.lake.merge_conditions import retry_commit
from chronotope.lake.row_conformance import conformed_reader, conformed_schema
from chronotope.lake.staged_batch import NO_CLEANUP
from chronotope.lake.store import Lake
from chronotope.lake.store_errors import translate_store_errors
from chronotope.lake.table_schemas import TABLE_SCHEMAS

_LOG_RETENTION: Final = "delta.logRetentionDuration"
_FILE_RETENTION: Final = "delta.deletedFileRetentionDuration"
_CLEANUP: Final = "delta.enableExpiredLogCleanup"
_FORGETTING: Final = {
    _LOG_RETENTION: "interval 0 days",
    _FILE_RETENTION: "interval 0 days",
    _CLEANUP: "true",
}
_KEEPING: Final = {
    _LOG_RETENTION: "interval 36500 days",
    _FILE_RETENTION: "interval 7 days",
    _CLEANUP: "false",
}
"""Trainings refer to versions of a table, so its log is kept for good otherwise."""

_BATCH_ROWS: Final = 200_000

_CLOCK_S: Final = 0.02
"""Log entries are compared with the clock in whole seconds."""


def erase_rows(lake: Lake, table_name: str, column: str, texts: Sequence[str]) -> int:
    """Delete the rows with one of some texts in a column; returns their number.

    Earlier versions of the table cannot be read afterwards, whether it had such rows or not: an
    earlier version may have some that the latest one has not.

    Args:
        lake: Lake of the dataset.
        table_name: Table to erase from; one that does not exist has no rows.
        column: Column of texts.
        texts: Texts whose rows are erased.

    Raises:
        StoreError: The lake cannot be written.
    """
    n_deleted = 0
    if texts:
        n_deleted = _delete(lake, table_name, lambda table: _erased(table, column, texts))
    forget_versions(lake, table_name)
    return n_deleted


def delete_rows(lake: Lake, table_name: str, condition: str) -> int:
    """Delete the rows that meet a condition from the latest version; returns their number.

    Args:
        lake: Lake of the dataset.
        table_name: Table to delete from; one that does not exist has no rows.
        condition: SQL condition.

    Raises:
        StoreError: The lake cannot be written.
    """
    return _delete(lake, table_name, lambda _: condition)


def count_before(lake: Lake, table_name: str, time_column: str, before: datetime) -> int:
    """Number of rows of the latest version with an earlier time.

    Args:
        lake: Lake of the dataset.
        table_name: The table; one that does not exist has no rows.
        time_column: Column of instants.
        before: The time.
    """
    if not lake.exists(table_name):
        return 0
    is_earlier = pc.field(time_column) < pa.scalar(before)
    return int(lake.dataset(table_name).count_rows(filter=is_earlier))


def delete_before(lake: Lake, table_name: str, time_column: str, before: datetime) -> int:
    """Delete the rows with an earlier time; returns their number.

    Args:
        lake: Lake of the dataset.
        table_name: The table; one that does not exist has no rows.
        time_column: Column of instants.
        before: The time.

    Raises:
        StoreError: The lake cannot be written.
    """
    instant = before.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    condition = f"{time_column} < arrow_cast('{instant}', 'Timestamp(Microsecond, Some(\"UTC\"))')"
    return delete_rows(lake, table_name, condition)


def replace_rows(lake: Lake, table_name: str, convert: Callable[[pa.Table], pa.Table]) -> int:
    """Replace all rows of a table in one commit, streamed; returns their number.

    Args:
        lake: Lake of the dataset.
        table_name: Table to rewrite.
        convert: From rows to as many rows with the same columns.

    Raises:
        StoreError: The lake cannot be written.
    """
    dataset = lake.dataset(table_name)
    schema = conformed_schema(dataset.schema, TABLE_SCHEMAS[table_name])
    n_buckets = lake.n_buckets() if table_name == "events" else 1
    batches = dataset.to_batches(batch_size=_BATCH_ROWS)
    tables = (convert(pa.Table.from_batches([batch])) for batch in batches if len(batch))
    if n_buckets > 1:  # a user with another pseudonym may be in another bucket
        schema = schema.append(bucket_field(n_buckets))
        tables = (with_buckets(rows, n_buckets) for rows in tables)
    with translate_store_errors(table_name):
        write_deltalake(
            lake.address(table_name),
            conformed_reader(tables, schema),
            mode="overwrite",
            schema_mode="overwrite",
            partition_by=[c.USER_BUCKET] if n_buckets > 1 else [],
            post_commithook_properties=NO_CLEANUP,
        )
    return int(lake.dataset(table_name).count_rows())


def forget_versions(lake: Lake, table_name: str) -> None:
    """Remove the files and log entries of all versions of a table but the latest.

    Args:
        lake: Lake of the dataset.
        table_name: The table; one that does not exist has no versions.

    Raises:
        StoreError: The lake cannot be written.
    """
    if lake.exists(table_name):
        with translate_store_errors(table_name):
            _forget_versions(lake.address(table_name))


def text_condition(column: str, texts: Sequence[str]) -> str:
    """SQL condition that a column holds one of some texts.

    Args:
        column: Column of texts.
        texts: The texts.

    Example:
        >>> text_condition("user_id", ["ann", "o'hara"])
        "user_id IN ('ann', 'o''hara')"
    """
    quoted_texts = ", ".join("'{}'".format(text.replace("'", "''")) for text in texts)
    return f"{column} IN ({quoted_texts})"


def _delete(lake: Lake, table_name: str, condition_of: Callable[[DeltaTable], str]) -> int:
    """Delete by a condition on the version that is read; returns the number of rows."""
    if not lake.exists(table_name):
        return 0

    def delete() -> int:
        delta_table = DeltaTable(lake.address(table_name))
        condition = condition_of(delta_table)
        metrics = delta_table.delete(condition, post_commithook_properties=NO_CLEANUP)
        return int(metrics["num_deleted_rows"] or 0)

    with translate_store_errors(table_name):
        return retry_commit(delete)


def _erased(delta_table: DeltaTable, column: str, texts: Sequence[str]) -> str:
    """Condition of the erased rows; of users, with their buckets, so that no other file is read."""
    condition = text_condition(column, texts)
    if column != c.USER_ID or not delta_table.metadata().partition_columns:
        return condition
    n_buckets = count_buckets(delta_table)
    buckets = sorted({bucket_of_user(text, n_buckets) for text in texts})
    return f"{c.USER_BUCKET} IN ({', '.join(map(str, buckets))}) AND {condition}"


def _forget_versions(address: str) -> None:
    """Remove the files and the log entries of all versions but the latest."""
    DeltaTable(address).vacuum(
        retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True
    )
    delta_table = DeltaTable(address)
    delta_table.alter.set_table_properties(_FORGETTING)
    time.sleep(_CLOCK_S)
    delta_table = DeltaTable(address)
    delta_table.create_checkpoint()
    delta_table.cleanup_metadata()
    delta_table.alter.set_table_properties(_KEEPING)
