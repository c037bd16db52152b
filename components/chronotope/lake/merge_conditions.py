"""Creation and merges of Delta tables (source ``s``, target ``t``), and retries after conflicts."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.table import TableMerger

from chronotope.lake.staged_batch import ALL_VERSIONS, FIRST, NO_CLEANUP
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.store_urls import Location

_ATTEMPTS: Final = 10


def retry_commit(write_table: Callable[[], int]) -> int:
    """Result of a write, repeated up to 10 times if another process commits at the same time."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return write_table()
        except CommitFailedError:
            continue
    return write_table()


def create_table(
    lake_root: Location,
    table_name: str,
    read_rows: Callable[[], pa.Table | pa.RecordBatchReader],
) -> bool:
    """Create a table; returns False if another process has created it meanwhile.

    Args:
        lake_root: Folder or address of the lake.
        table_name: Name of the table.
        read_rows: Its rows.
    """
    if isinstance(lake_root, Path):
        private_folder(lake_root)
    table_uri = f"{lake_root}/{table_name}"
    try:
        write_deltalake(
            table_uri,
            read_rows(),
            mode="error",
            configuration=ALL_VERSIONS,
            commit_properties=FIRST,
        )
    except DeltaError:
        if not DeltaTable.is_deltatable(table_uri):
            raise
        return False
    return True


def open_merge(
    table: DeltaTable, rows: pa.Table | pa.RecordBatchReader, key_columns: Sequence[str]
) -> TableMerger:
    """Merge of rows (source ``s``) into a table (target ``t``) by key, to be completed."""
    return table.merge(
        rows,
        equality_condition(key_columns),
        source_alias="s",
        target_alias="t",
        merge_schema=True,
        post_commithook_properties=NO_CLEANUP,
    )


def merge_changed(
    table: DeltaTable,
    rows: pa.Table | pa.RecordBatchReader,
    key_columns: Sequence[str],
    known_columns: Sequence[str],
) -> None:
    """Insert new rows and update changed ones in one commit.

    Args:
        table: The table.
        rows: Rows with unique keys.
        key_columns: Columns of the key.
        known_columns: Columns of the table.
    """
    merge = open_merge(table, rows, key_columns)
    if condition := update_condition(rows.schema.names, key_columns, known_columns):
        merge = merge.when_matched_update_all(condition)
    merge.when_not_matched_insert_all().execute()


def equality_condition(key_columns: Sequence[str]) -> str:
    """SQL condition that source and target rows have equal keys."""
    return " AND ".join(f't."{column_name}" = s."{column_name}"' for column_name in key_columns)


def update_condition(
    column_names: Sequence[str], key_columns: Sequence[str], known_columns: Sequence[str]
) -> str:
    """SQL condition that a column besides the key differs; "" if there is no other column.

    Args:
        column_names: Columns of the source.
        key_columns: Columns of the key.
        known_columns: Columns of the target.
    """
    return " OR ".join(
        change_condition(name, name in known_columns)
        for name in column_names
        if name not in key_columns
    )


def change_condition(column_name: str, is_known: bool) -> str:
    """SQL condition that a column differs; a new column differs if its value is not null."""
    return (
        f'(t."{column_name}" IS DISTINCT FROM s."{column_name}")'
        if is_known
        else f'(s."{column_name}" IS NOT NULL)'
    )
