"""Tables of a feature snapshot, joined from those of buckets that tasks of an engine build."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts.event_log import Int32, Int64
from chronotope.features import queries
from chronotope.features.buckets import bucket_queries
from chronotope.features.buckets.bucket_tables import (
    COUNTS_FILE,
    EVENTS_FILE,
    ITEMS_FILE,
    PLACES_FILE,
    USERS_FILE,
    BucketTables,
    BucketTablesTask,
)
from chronotope.features.buckets.event_buckets import EventBuckets
from chronotope.features.buckets.joined_events import BucketIndices, write_joined_events
from chronotope.features.sources import FeaturesConfig, register_items
from chronotope.features.table_files import (
    TABLES,
    no_events_error,
    snapshot_database,
    write_table_file,
)
from chronotope.runtime.durable_files import replacing
from chronotope.runtime.engine.protocol import Engine

BUCKET_MEMORY: Final = "1GiB"
"""Memory limit of DuckDB in a task, and while the tables are joined; beyond it, it spills."""

_MAX_COUNTS: Final = 2_000_000
"""Rows of counts that one task sums up, about."""


def write_joined_tables(
    draft_dir: Path,
    events: EventBuckets,
    items: pa.Table | None,
    readings: pa.Table | None,
    config: FeaturesConfig,
    content_ids: pa.Table,
    engine: Engine,
) -> None:
    """Write the tables of a snapshot, equal to those of the same events without buckets.

    Args:
        draft_dir: Folder of the snapshot; its parent receives the tables of the buckets.
        events: The events.
        items: Columns of ``ITEMS``; None if there is no items table.
        readings: Rows of the context table; None if there are none.
        config: Event types and context columns.
        content_ids: Ids of items that are kept without events, in a column ``id``.
        engine: Runs one task per bucket, then some that sum up counts.

    Raises:
        NotEnoughData: No event is left after the filter by event type.
        StoreError: The lake cannot be read, or the disk is full.
    """
    tables_dir = draft_dir.resolve().with_name("buckets")
    tables_dir.mkdir()
    n_threads = None if engine.in_process else 1
    readings_path = None
    if readings is not None and config.context_table:
        readings_path = tables_dir / "readings.parquet"
        pq.write_table(readings, readings_path)
    bucket_task = BucketTablesTask(
        events.resolved(), config, tables_dir, readings_path, BUCKET_MEMORY, n_threads
    )
    tables = list(engine.map(bucket_task, range(events.n_buckets)))
    n_events = sum(table.n_events for table in tables)
    if n_events == 0:
        raise no_events_error(config.event_types)
    bucket_dirs = [table.path for table in tables]
    statistics_task = StatisticsTask(tables_dir, tuple(bucket_dirs), n_threads)
    statistics_paths = list(engine.map(statistics_task, _part_ranges(tables)))
    with snapshot_database(BUCKET_MEMORY, tables_dir / "spilled") as database_connection:
        register_items(database_connection, items)
        database_connection.register("content_ids", content_ids)
        _join_catalog(database_connection, bucket_dirs, statistics_paths, config)
        for table_name in TABLES:
            if table_name != "events":
                table_query = database_connection.sql(queries.SNAPSHOT_TABLES[table_name])
                write_table_file(table_query.to_arrow_reader(), draft_dir / f"{table_name}.parquet")
        bucket_indices = _bucket_indices(database_connection, events.n_buckets)
    events_paths = [bucket_dir / EVENTS_FILE for bucket_dir in bucket_dirs]
    write_joined_events(events_paths, bucket_indices, n_events, draft_dir / "events.parquet")
    shutil.rmtree(tables_dir)


@dataclass(frozen=True, slots=True)
class StatisticsTask:
    """Positions and categories of some items and places, over the events of all buckets.

    Attributes:
        tables_dir: Folder of the results, absolute.
        bucket_dirs: Folders of the tables of the buckets.
        n_threads: Threads of DuckDB; None for one per core.
    """

    tables_dir: Path
    bucket_dirs: tuple[Path, ...]
    n_threads: int | None

    def __call__(self, parts: tuple[int, int]) -> Path:
        """File of the statistics.

        Args:
            parts: The first and the last part of the counts to sum up.
        """
        first_part, last_part = parts
        result_path = self.tables_dir / f"statistics-{first_part:05d}.parquet"
        query_params = {
            "count_files": [str(bucket_dir / COUNTS_FILE) for bucket_dir in self.bucket_dirs],
            "first_part": first_part,
            "last_part": last_part,
        }
        spill_dir = self.tables_dir / f"spilled-{first_part:05d}"
        with snapshot_database(BUCKET_MEMORY, spill_dir, self.n_threads) as database_connection:
            item_statistics = database_connection.sql(
                bucket_queries.STATISTICS, params=query_params
            )
            with replacing(result_path) as draft_path:
                pq.write_table(item_statistics.to_arrow_table(), draft_path)
        return result_path


def _part_ranges(tables: Sequence[BucketTables]) -> list[tuple[int, int]]:
    """First and last part of each task of the statistics: about as many rows each."""
    n_parts = len(tables)  # BucketTablesTask writes as many parts as there are buckets
    n_tasks = min(n_parts, 1 + sum(table.n_counts for table in tables) // _MAX_COUNTS)
    part_bounds = [n_parts * task_idx // n_tasks for task_idx in range(n_tasks + 1)]
    return [(first_part, end_part - 1) for first_part, end_part in pairwise(part_bounds)]


def _join_catalog(
    database_connection: duckdb.DuckDBPyConnection,
    bucket_dirs: Sequence[Path],
    statistics_paths: Sequence[Path],
    config: FeaturesConfig,
) -> None:
    """Create the tables of users, items, places and categories of all buckets."""
    files = {"bucket_users": USERS_FILE, "bucket_items": ITEMS_FILE, "bucket_places": PLACES_FILE}
    for view_name, file_name in files.items():
        paths = [str(bucket_dir / file_name) for bucket_dir in bucket_dirs]
        database_connection.read_parquet(paths).create_view(view_name)
    item_statistics = database_connection.read_parquet([str(path) for path in statistics_paths])
    item_statistics.create_view("statistics")
    database_connection.execute(bucket_queries.JOINED_IDS)
    database_connection.execute(queries.ITEM_ATTRIBUTES)
    database_connection.execute(
        bucket_queries.JOINED_ITEM_PLACES
        if config.items_are_places
        else bucket_queries.JOINED_EVENT_PLACES
    )


def _bucket_indices(
    database_connection: duckdb.DuckDBPyConnection, n_buckets: int
) -> list[BucketIndices]:
    """Joined indices of every bucket."""
    user_runs = database_connection.sql(bucket_queries.USER_RUNS).fetchnumpy()
    first_row, first_session = (
        _exclusive_sum(user_runs[name]) for name in ("n_events", "n_sessions")
    )
    item_maps, place_maps = (
        _index_maps(database_connection, bucket_queries.INDEX_MAPS[name], n_buckets)
        for name in ("items", "places")
    )
    bucket_indices = []
    for bucket in range(n_buckets):
        user_rows = np.flatnonzero(
            user_runs["bucket"] == bucket
        )  # in the order of the bucket as well
        n_events, n_sessions = user_runs["n_events"][user_rows], user_runs["n_sessions"][user_rows]
        row_shift = first_row[user_rows] - _exclusive_sum(n_events)
        session_shift = first_session[user_rows] - _exclusive_sum(n_sessions)
        bucket_indices.append(
            BucketIndices(
                user_idx=np.append(0, user_rows + 1).astype(np.int32),
                row_shift=np.append(0, row_shift),
                session_shift=np.append(0, session_shift).astype(np.int32),
                item_idx=item_maps[bucket],
                place_idx=place_maps[bucket],
            )
        )
    return bucket_indices


def _index_maps(
    database_connection: duckdb.DuckDBPyConnection, map_query: str, n_buckets: int
) -> list[Int32]:
    """Joined index of each index of each bucket, 0 for 0."""
    map_rows = database_connection.sql(map_query).fetchnumpy()
    row_order = np.argsort(map_rows["bucket"], kind="stable")
    part_bounds = np.searchsorted(map_rows["bucket"][row_order], np.arange(n_buckets + 1))
    index_maps = []
    for first_part, end_part in pairwise(part_bounds):
        bucket_rows = row_order[first_part:end_part]
        index_map = np.zeros(len(bucket_rows) + 1, np.int32)
        index_map[map_rows["bucket_idx"][bucket_rows]] = map_rows["idx"][bucket_rows]
        index_maps.append(index_map)
    return index_maps


def _exclusive_sum(counts: Int64) -> Int64:
    """Sum of the counts before each one, shape (n,)."""
    return np.cumsum(counts, dtype=np.int64) - counts
