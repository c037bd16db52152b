"""Tables of a feature snapshot on disk, and the database that computes them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts.errors import NotEnoughData, StoreError

TABLES: Final = ("events", "users", "items", "places", "categories")
"""Tables of every snapshot, one Parquet file each."""

ROW_GROUP_ROWS: Final = 1 << 17
"""Rows of a Parquet row group."""


@contextmanager
def snapshot_database(
    memory_limit: str, spill_dir: Path, n_threads: int | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Context manager of a DuckDB connection that spills to a folder beyond its memory limit.

    Args:
        memory_limit: Memory limit with its unit, such as ``"4GiB"``.
        spill_dir: Folder of spilled data.
        n_threads: Number of threads; None for one per core.

    Raises:
        StoreError: The block runs out of memory and of disk space.
    """
    database_settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        "temp_directory": str(spill_dir),
    }
    if n_threads is not None:
        database_settings["threads"] = n_threads
    try:
        with duckdb.connect(config=database_settings) as database_connection:
            # Of any query above two seconds, on standard output, whose JSON it would damage.
            database_connection.execute("SET enable_progress_bar = false")
            yield database_connection
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise StoreError(
            f"The feature snapshot does not fit in {memory_limit} of memory and the free disk "
            "space",
            received=error,
            way_out="Free disk space: data beyond the memory limit are written next to the "
            "snapshots",
        ) from error


def write_table_file(batch_reader: pa.RecordBatchReader, file_path: Path) -> None:
    """Write batches in row groups of fixed size, so that equal rows give equal files.

    Args:
        batch_reader: Rows of the table.
        file_path: The Parquet file.
    """
    with pq.ParquetWriter(file_path, batch_reader.schema, compression="zstd") as parquet_writer:
        waiting_rows = batch_reader.schema.empty_table()
        for record_batch in batch_reader:
            waiting_rows = pa.concat_tables([waiting_rows, pa.Table.from_batches([record_batch])])
            while len(waiting_rows) >= ROW_GROUP_ROWS:
                parquet_writer.write_table(waiting_rows.slice(0, ROW_GROUP_ROWS))
                waiting_rows = waiting_rows.slice(ROW_GROUP_ROWS)
        parquet_writer.write_table(waiting_rows)


def no_events_error(event_types: Sequence[str]) -> NotEnoughData:
    """Error of a log without events of the selected types."""
    return NotEnoughData(
        "No events are left to build features from",
        received=f"event types {list(event_types)}",
        way_out="Ingest events, or select other event types",
    )
