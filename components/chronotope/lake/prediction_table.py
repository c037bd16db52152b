"""Predictions table of a lake: one commit replaces the rows of the users that were scored.

The rows are sorted by user and rank, so that a reader of one user opens one row group of a file.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake

from chronotope.contracts import columns as c
from chronotope.contracts.errors import StoreError
from chronotope.contracts.predictions import (
    HISTORY_DIGEST,
    PREDICTIONS,
    PREDICTIONS_TABLE,
    RANK,
    SCORED_AT,
    SCORING_KEY,
)
from chronotope.lake.store import Lake
from chronotope.lake.store_errors import translate_store_errors
from chronotope.lake.text_filter import text_equals
from chronotope.runtime.private_files import private_folder

KEEP_VERSIONS_H: Final = 7 * 24
"""Hours for which files of earlier versions are kept: readers may still have them open."""

_SORT_MEMORY: Final = "1GiB"
"""Memory limit of DuckDB while rows are sorted; beyond it, DuckDB spills to disk."""

_ROW_GROUP_ROWS: Final = 20_000
_BATCH_ROWS: Final = 50_000
_MERGED: Final = """
SELECT * FROM (
    FROM previous ANTI JOIN replaced_users USING (user_id)
    UNION ALL BY NAME
    FROM staged
) ORDER BY user_id, rank
"""


def scored_users(lake: Lake) -> pa.Table:
    """Users of the present table: ``user_id``, ``scoring_key`` and ``history_digest``.

    Args:
        lake: The dataset's lake; without a predictions table the result is empty.

    Raises:
        StoreError: The table cannot be read.
    """
    user_columns = [c.USER_ID, SCORING_KEY, HISTORY_DIGEST]
    if not lake.exists(PREDICTIONS_TABLE):
        return pa.schema([PREDICTIONS.field(name) for name in user_columns]).empty_table()
    with translate_store_errors(PREDICTIONS_TABLE):
        first_rows = lake.dataset(PREDICTIONS_TABLE)
        return first_rows.to_table(columns=user_columns, filter=pc.field(RANK) == 1)


def user_predictions(predictions: pads.Dataset, user_id: str) -> pa.Table:
    """Rows of one user by rank; empty for a user without predictions.

    Args:
        predictions: Result of ``Lake.dataset("predictions")``.
        user_id: External id.

    Raises:
        StoreError: The table cannot be read.
    """
    with translate_store_errors(PREDICTIONS_TABLE):
        user_rows = predictions.to_table(filter=text_equals(c.USER_ID, user_id))
    return user_rows.sort_by(RANK)


def latest_scoring(predictions: pads.Dataset) -> datetime | None:
    """Latest moment of scoring of a table; None if it has no rows.

    Args:
        predictions: Result of ``Lake.dataset("predictions")``.

    Raises:
        StoreError: The table cannot be read.
    """
    with translate_store_errors(PREDICTIONS_TABLE):
        moments = predictions.to_table(columns=[SCORED_AT], filter=pc.field(RANK) == 1)
    latest: datetime | None = pc.max(moments[SCORED_AT]).as_py()
    return None if latest is None else latest.astimezone(UTC)


def replace_predictions(
    lake: Lake,
    staged_files: Sequence[Path],
    replaced_users: pa.Array,
    scratch_dir: Path,
    commit_metadata: Mapping[str, str],
) -> int:
    """Replace the rows of some users in one commit; all other users keep theirs.

    Args:
        lake: The dataset's lake.
        staged_files: Parquet files with the new rows.
        replaced_users: Ids of the users whose present rows are deleted: those of the new rows,
            and those who have left the log.
        scratch_dir: Folder for rows that do not fit into memory while they are sorted.
        commit_metadata: Texts that are stored with the commit.

    Returns:
        Number of the table's version.

    Raises:
        StoreError: The table could not be written; the previous version is intact.
    """
    if isinstance(lake.root, Path):
        private_folder(lake.root)
    with (
        translate_store_errors(PREDICTIONS_TABLE),
        _merged_rows(lake, staged_files, replaced_users, scratch_dir) as merged_rows,
    ):
        write_deltalake(
            lake.address(PREDICTIONS_TABLE),
            merged_rows,
            mode="overwrite",
            schema_mode="overwrite",
            commit_properties=CommitProperties(custom_metadata=dict(commit_metadata)),
            writer_properties=WriterProperties(
                compression="ZSTD", max_row_group_size=_ROW_GROUP_ROWS
            ),
        )
        delta_table = DeltaTable(lake.address(PREDICTIONS_TABLE))
        delta_table.vacuum(KEEP_VERSIONS_H, dry_run=False)
    return delta_table.version()


@contextmanager
def _merged_rows(
    lake: Lake, staged_files: Sequence[Path], replaced_users: pa.Array, scratch_dir: Path
) -> Iterator[pa.RecordBatchReader]:
    """Reader of the staged rows and of the previous rows of other users, sorted."""
    staged = pads.dataset([str(file_path) for file_path in staged_files], schema=PREDICTIONS)
    previous = (
        lake.dataset(PREDICTIONS_TABLE).replace_schema(PREDICTIONS)
        if lake.exists(PREDICTIONS_TABLE)
        else pads.dataset(PREDICTIONS.empty_table())
    )
    settings: dict[str, Any] = {
        "memory_limit": _SORT_MEMORY,
        "temp_directory": str(scratch_dir),
    }
    try:
        with duckdb.connect(config=settings) as database_connection:
            database_connection.execute("SET enable_progress_bar = false")
            database_connection.register("staged", staged)
            database_connection.register("previous", previous)
            database_connection.register("replaced_users", pa.table({c.USER_ID: replaced_users}))
            reader = database_connection.sql(_MERGED).to_arrow_reader(_BATCH_ROWS)
            cast_batches = (batch.cast(PREDICTIONS) for batch in reader)
            yield pa.RecordBatchReader.from_batches(PREDICTIONS, cast_batches)
    except duckdb.Error as error:
        raise StoreError(
            "The predictions could not be sorted",
            received=error,
            way_out="Check free disk space; the previous table is intact, and running again is "
            "safe",
        ) from error
