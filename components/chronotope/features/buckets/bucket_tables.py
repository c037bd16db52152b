"""Tables of one bucket: its numeric events in indices of the bucket, its ids, and counts."""

import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.features import context_join, queries
from chronotope.features.buckets import bucket_queries
from chronotope.features.buckets.event_buckets import EventBuckets
from chronotope.features.sources import FeaturesConfig, register_sources
from chronotope.features.table_files import snapshot_database
from chronotope.lake.store_errors import translate_store_errors

EVENTS_FILE: Final = "events.arrow"
"""Numeric events of a bucket, in indices of the bucket, ordered by user, time and event id."""
USERS_FILE: Final = "users.parquet"
ITEMS_FILE: Final = "items.parquet"
PLACES_FILE: Final = "places.parquet"
COUNTS_FILE: Final = "counts.parquet"
"""Events of each item and place at each position, ordered by part."""

BATCH_ROWS: Final = 1 << 15
"""Rows of a batch of ``EVENTS_FILE``; one batch of every bucket is in memory at a time."""

_COUNT_ROWS: Final = 1 << 15
"""Rows of a row group of ``COUNTS_FILE``: a reader of one part skips the others."""


@dataclass(frozen=True, slots=True)
class BucketTables:
    """Tables of one bucket on disk.

    Attributes:
        path: Folder of the tables.
        n_events: Number of events of the selected types.
        n_counts: Number of rows of ``COUNTS_FILE``.
    """

    path: Path
    n_events: int
    n_counts: int


@dataclass(frozen=True, slots=True)
class BucketTablesTask:
    """Construction of the tables of a bucket; sent to other processes, so it holds paths.

    Attributes:
        events: The events, by absolute paths.
        config: Event types and context columns.
        tables_dir: Parent folder of the tables of all buckets, absolute.
        readings_path: Parquet file of the context readings; None if there are none.
        memory_limit: Memory limit of DuckDB.
        n_threads: Threads of DuckDB; None for one per core.
    """

    events: EventBuckets
    config: FeaturesConfig
    tables_dir: Path
    readings_path: Path | None
    memory_limit: str
    n_threads: int | None

    def __call__(self, bucket: int) -> BucketTables:
        """Write the tables of a bucket, all of them or none.

        Args:
            bucket: Number of the bucket.

        Raises:
            StoreError: The lake cannot be read, or the disk is full.
            SchemaError: A required column is missing.
            ConfigError: A context column is missing or not numeric.
        """
        bucket_dir = self.tables_dir / f"bucket-{bucket:05d}"
        draft_dir = Path(tempfile.mkdtemp(prefix=".bucket-", dir=self.tables_dir))
        try:
            with translate_store_errors("features"):
                tables = self._write(bucket, draft_dir)
                with suppress(OSError):  # a task that was thought lost has written the same tables
                    draft_dir.rename(bucket_dir)
        finally:
            shutil.rmtree(draft_dir, ignore_errors=True)
        return BucketTables(bucket_dir, *tables)

    def _write(self, bucket: int, draft_dir: Path) -> tuple[int, int]:
        """Write the tables to a folder; returns the numbers of events and of counts."""
        spill_dir = draft_dir / "spilled"
        with snapshot_database(self.memory_limit, spill_dir, self.n_threads) as database_connection:
            register_sources(database_connection, self.events.reader(bucket), None, self.config)
            database_connection.execute(queries.EVENTS, {"types": list(self.config.event_types)})
            database_connection.register("content_ids", pa.table({"id": pa.array([], pa.string())}))
            database_connection.execute(queries.IDS)
            database_connection.execute(
                bucket_queries.BUCKET_ITEM_PLACES
                if self.config.items_are_places
                else bucket_queries.BUCKET_EVENT_PLACES
            )
            reading_rows = None if self.readings_path is None else pq.read_table(self.readings_path)
            context_join.join_context(database_connection, reading_rows, self.config.context_table)
            for file_name, table_query in (
                (USERS_FILE, bucket_queries.USERS),
                (ITEMS_FILE, bucket_queries.ITEMS),
                (PLACES_FILE, bucket_queries.PLACES),
            ):
                result_table = database_connection.sql(
                    table_query, params={"bucket": bucket}
                ).to_arrow_table()
                pq.write_table(result_table, draft_dir / file_name)
            n_counts = self._write_counts(database_connection, draft_dir / COUNTS_FILE)
            n_events = _write_events(database_connection, draft_dir / EVENTS_FILE)
        shutil.rmtree(spill_dir, ignore_errors=True)
        return n_events, n_counts

    def _write_counts(self, database_connection: duckdb.DuckDBPyConnection, file_path: Path) -> int:
        """Write the counts of items and places; returns the number of rows."""
        table_query = bucket_queries.ITEM_COUNTS
        if not self.config.items_are_places:
            table_query += bucket_queries.PLACE_COUNTS
        query_params = {"n_parts": self.events.n_buckets}
        event_counts = database_connection.sql(
            f"FROM ({table_query}) ORDER BY part", params=query_params
        )
        event_counts.write_parquet(str(file_path), row_group_size=_COUNT_ROWS)
        return int(pq.read_metadata(file_path).num_rows)


def _write_events(database_connection: duckdb.DuckDBPyConnection, file_path: Path) -> int:
    """Write the numeric events as an Arrow file; returns their number."""
    batch_reader = database_connection.sql(queries.SNAPSHOT_TABLES["events"]).to_arrow_reader(
        BATCH_ROWS
    )
    n_events = 0
    with (
        pa.OSFile(str(file_path), "wb") as arrow_file,
        pa.ipc.new_file(arrow_file, batch_reader.schema) as batch_writer,
    ):
        for batch in batch_reader:
            batch_writer.write_batch(batch)
            n_events += len(batch)
    return n_events
