"""Turn events of the lake into the numeric log that models read, once per data version."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts.errors import NotEnoughData, StoreError
from chronotope.contracts.strict_json import JsonObject
from chronotope.features import context_join, queries
from chronotope.features.sources import EventsSource, FeaturesConfig, register_sources
from chronotope.lake.store_errors import translate_store_errors
from chronotope.runtime.durable_files import (
    file_checksum,
    read_json,
    sync_file,
    sync_folder,
    write_json,
)
from chronotope.runtime.temp_dirs import temporary_folder

_LOG = logging.getLogger(__name__)

FORMAT: Final = 2
"""Raised when snapshots change form, so that old ones are not taken for new."""

META: Final = "features.json"
TABLES: Final = ("events", "users", "items", "places", "categories")
_FILES: Final = tuple(f"{name}.parquet" for name in TABLES)

MEMORY: Final = "4GiB"
"""What DuckDB may hold while a snapshot is built; beyond it, it writes beside the snapshot."""

_ROWS: Final = 1 << 17
"""Rows of a row group."""


@dataclass(frozen=True, slots=True)
class FeatureRef:
    """A snapshot on disk.

    Attributes:
        path: Its folder; give it to ``load_features``.
        digest: Sixteen hexadecimal digits of the data and the configuration.
        n_events: Number of events.
        n_users: Number of users, without the unknown.
        n_items: Number of items, without the unknown.
    """

    path: Path
    digest: str
    n_events: int
    n_users: int
    n_items: int


def build_features(
    events: EventsSource,
    items: pa.Table | None,
    *,
    config: FeaturesConfig,
    out: Path,
    data_version: str | None = None,
    readings: pa.Table | None = None,
) -> FeatureRef:
    """Write the numeric snapshot of a log, or find the one already written.

    Only items that occur in the events are kept. A missing UTC offset becomes 0. An
    item's coordinates are those of the items table, else the median of its events'; a
    place's are the median of its events'. A category is that of the items table, else
    the commonest ``category`` of the item's events if they carry that column.

    Args:
        events: Columns of ``EVENTS``; the optional ones may be missing.
        items: Columns of ``ITEMS``; None if there is no items table.
        config: What to keep.
        out: Folder of the snapshots; each is a folder named by its digest.
        data_version: Versions of the tables read, such as ``"events@3,items@1"``. It
            then stands for the data in the digest and a known snapshot is not built
            again unless it is damaged; without it the content is digested.
        readings: Columns of ``CONTEXT`` and numbers; None if there are none.

    Returns:
        Where the snapshot is and what it holds.

    Raises:
        SchemaError: A required column is missing.
        ConfigError: A context column is missing or not numeric.
        NotEnoughData: No event is left.
        StoreError: The disk refused.
    """
    if data_version is not None:
        known_snapshot = out / _digest(config, data_version)
        if _is_whole(known_snapshot):
            return read_ref(known_snapshot)
    with translate_store_errors("features"), temporary_folder(out, ".draft-") as temporary_dir:
        draft_dir = temporary_dir / "snapshot"
        draft_dir.mkdir()
        _write_tables(draft_dir, events, items, readings, config)
        digest = _digest(config, data_version or _content(draft_dir))
        _describe(draft_dir, digest, config)
        _publish(draft_dir, out / digest)
    return read_ref(out / digest)


def read_ref(snapshot_dir: Path) -> FeatureRef:
    """The reference of a snapshot's folder, from the meta file in it.

    Raises:
        StoreError: The meta file is missing or damaged.
    """
    snapshot_meta = _read_meta(snapshot_dir)
    return FeatureRef(
        snapshot_dir,
        snapshot_meta["digest"],
        snapshot_meta["n_events"],
        snapshot_meta["n_users"],
        snapshot_meta["n_items"],
    )


def read_checked(snapshot_dir: Path) -> JsonObject:
    """What the meta file says of a snapshot, whose files all have the checksums named there.

    Args:
        snapshot_dir: Folder of the snapshot.

    Raises:
        StoreError: A file is missing or damaged.
    """
    snapshot_meta = _read_meta(snapshot_dir)
    checksums = snapshot_meta.get("checksums", {})
    try:
        wrong_files = [
            file_name
            for file_name in _FILES
            if file_checksum(snapshot_dir / file_name) != checksums.get(file_name)
        ]
    except OSError as error:
        raise StoreError(
            "The feature snapshot is not whole", received=error, way_out=_way_out(snapshot_dir)
        ) from error
    if wrong_files:
        raise StoreError(
            "Files of the feature snapshot differ from their checksums",
            received=", ".join(str(snapshot_dir / file_name) for file_name in wrong_files),
            way_out=_way_out(snapshot_dir),
        )
    return snapshot_meta


def _read_meta(snapshot_dir: Path) -> JsonObject:
    return read_json(
        snapshot_dir / META, subject="The feature snapshot", way_out=_way_out(snapshot_dir)
    )


def _way_out(snapshot_dir: Path) -> str:
    return (
        "Run again: an ingestion rebuilds a damaged snapshot; or delete "
        f"{snapshot_dir} and build it again with build_features"
    )


def _is_whole(snapshot_dir: Path) -> bool:
    """Whether there is a snapshot that can be used; one that is damaged is told of."""
    if not (snapshot_dir / META).exists():
        return False
    try:
        read_checked(snapshot_dir)
    except StoreError as error:
        _LOG.warning("A feature snapshot is built again: %s", error)
        return False
    return True


def _write_tables(
    draft_dir: Path,
    events: EventsSource,
    items: pa.Table | None,
    readings: pa.Table | None,
    config: FeaturesConfig,
) -> None:
    """Write the numeric tables, row group by row group; what does not fit is spilled."""
    spill_dir = str(draft_dir.with_name("spilled"))
    with (
        _bounds(),
        duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": spill_dir}) as connection,
    ):
        register_sources(connection, events, items, config)
        connection.execute(queries.EVENTS, {"types": list(config.event_types)})
        if connection.execute("SELECT count(*) FROM ev").fetchall()[0][0] == 0:
            raise NotEnoughData(
                "No events are left to build features from",
                received=f"event types {list(config.event_types)}",
                way_out="Ingest events, or keep other event types",
            )
        connection.execute(queries.INDICES)
        connection.execute(queries.ITEM_PLACES if config.items_are_places else queries.EVENT_PLACES)
        context_join.join_context(connection, readings, config.context_table)
        for table_name in TABLES:
            batch_reader = connection.sql(queries.OUT[table_name]).to_arrow_reader(_ROWS)
            _write(batch_reader, draft_dir / f"{table_name}.parquet")


@contextmanager
def _bounds() -> Iterator[None]:
    """Say it when DuckDB is out of memory and of disk."""
    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise StoreError(
            f"A snapshot could not be built with {MEMORY} of memory and the free disk",
            received=error,
            way_out="Free disk space: what passes that memory is written beside the snapshots",
        ) from error


def _write(batch_reader: pa.RecordBatchReader, file_path: Path) -> None:
    """Write rows as they come, in row groups of one size, so that equal rows are equal files."""
    with pq.ParquetWriter(file_path, batch_reader.schema, compression="zstd") as parquet_writer:
        waiting_rows = batch_reader.schema.empty_table()
        for record_batch in batch_reader:
            waiting_rows = pa.concat_tables([waiting_rows, pa.Table.from_batches([record_batch])])
            while len(waiting_rows) >= _ROWS:
                parquet_writer.write_table(waiting_rows.slice(0, _ROWS))
                waiting_rows = waiting_rows.slice(_ROWS)
        parquet_writer.write_table(waiting_rows)


def _digest(config: FeaturesConfig, data_id: str) -> str:
    digest_input = json.dumps([FORMAT, config.model_dump(mode="json"), data_id], sort_keys=True)
    return hashlib.sha256(digest_input.encode()).hexdigest()[:16]


def _content(draft_dir: Path) -> str:
    """Digest of the files."""
    content_digest = hashlib.sha256()
    for table_name in TABLES:
        with (draft_dir / f"{table_name}.parquet").open("rb") as file:
            content_digest.update(hashlib.file_digest(file, "sha256").digest())
    return content_digest.hexdigest()


def _describe(draft_dir: Path, snapshot_digest: str, config: FeaturesConfig) -> None:
    counted_tables = ("events", "users", "items")
    row_counts = {
        f"n_{table_name}": pq.read_metadata(draft_dir / f"{table_name}.parquet").num_rows
        for table_name in counted_tables
    }
    snapshot_meta = {
        "format": FORMAT,
        "digest": snapshot_digest,
        "config": config.model_dump(mode="json"),
        **row_counts,
    }
    for file_name in _FILES:
        sync_file(draft_dir / file_name)
    checksums = {file_name: file_checksum(draft_dir / file_name) for file_name in _FILES}
    write_json(draft_dir / META, {**snapshot_meta, "checksums": checksums})


def _publish(draft_dir: Path, snapshot_dir: Path) -> None:
    """Put a finished snapshot in its place; a whole one already there is the same."""
    if not _is_whole(snapshot_dir):
        shutil.rmtree(snapshot_dir, ignore_errors=True)
        draft_dir.rename(snapshot_dir)
        sync_folder(snapshot_dir.parent)
