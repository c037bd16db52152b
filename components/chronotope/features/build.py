"""Construction of feature snapshots: the numeric event log of one data version, on disk."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from chronotope.contracts import columns as c
from chronotope.contracts.errors import StoreError
from chronotope.contracts.ids import IdMap
from chronotope.contracts.item_content import ItemContent
from chronotope.contracts.item_context import ITEM_CONTEXT_FILES
from chronotope.contracts.strict_json import JsonObject
from chronotope.contracts.user_attributes import UserAttributes
from chronotope.features import context_join, queries
from chronotope.features.buckets import EventBuckets, write_joined_tables
from chronotope.features.item_context_index import build_item_context, item_context_columns
from chronotope.features.sources import EventsSource, FeaturesConfig, register_sources
from chronotope.features.table_files import (
    ROW_GROUP_ROWS,
    TABLES,
    no_events_error,
    snapshot_database,
    write_table_file,
)
from chronotope.lake.store_errors import translate_store_errors
from chronotope.runtime.durable_files import (
    file_checksum,
    read_json,
    sync_file,
    sync_folder,
    write_json,
)
from chronotope.runtime.engine.local import LocalEngine
from chronotope.runtime.engine.protocol import Engine
from chronotope.runtime.temp_dirs import temporary_folder

_LOG = logging.getLogger(__name__)

FORMAT: Final = 2
"""Version of the file format; part of the digest, so that old snapshots are not reused."""

META: Final = "features.json"
"""Name of the metadata file of a snapshot."""
_FILES: Final = tuple(f"{name}.parquet" for name in TABLES)

CONTENT_VECTORS: Final = "content.npy"
"""Table of the items' content, in the order of the items, where they have any."""
CONTENT_AXES: Final = "content_axes.npz"
"""Axes of that table."""
USER_ATTRIBUTES: Final = "user_attributes.parquet"
"""Levels of the users' attributes, in the order of the users, where there is a users table."""
_OPTIONAL_FILES: Final = (CONTENT_VECTORS, CONTENT_AXES, USER_ATTRIBUTES, *ITEM_CONTEXT_FILES)

DUCKDB_MEMORY: Final = "4GiB"
"""Memory limit of DuckDB while a snapshot is built; beyond it, DuckDB spills to disk."""


@dataclass(frozen=True, slots=True)
class FeatureRef:
    """Reference to a feature snapshot on disk.

    Attributes:
        path: Folder of the snapshot, the argument of ``load_features``.
        digest: Digest of the data and the configuration, 16 hexadecimal digits.
        n_events: Number of events.
        n_users: Number of users, without the unknown user.
        n_items: Number of items, without the unknown item.
    """

    path: Path
    digest: str
    n_events: int
    n_users: int
    n_items: int


def build_features(
    events: EventsSource | EventBuckets,
    items: pa.Table | None,
    *,
    config: FeaturesConfig,
    out: Path,
    data_version: str | None = None,
    readings: pa.Table | None = None,
    content: ItemContent | None = None,
    users: pa.Table | None = None,
    item_context: pads.Dataset | None = None,
    engine: Engine | None = None,
) -> FeatureRef:
    """Build the feature snapshot of an event log, or reuse an existing one.

    Only items that occur in the events are kept, and those that have content. A missing UTC
    offset becomes 0. The coordinates of an item come from the items table, or else are the
    median over its events; those of a place are the median over its events. The category of an
    item comes from the items table, or else is the most frequent ``category`` of its events, if
    there is that column, or else is ``predicted_category`` of the items table.

    Args:
        events: Columns of ``EVENTS``; the optional ones may be missing.
        items: Columns of ``ITEMS``; None if there is no items table.
        config: Event types and context columns to include.
        out: Parent folder of the snapshots; each is a folder named by its digest.
        data_version: Versions of the source tables, such as ``"events@3,items@1"``. If given,
            the digest is computed from it instead of from the content, and an existing intact
            snapshot is reused without reading the data.
        readings: Columns of ``CONTEXT`` and the context columns; None if there is no context
            table.
        content: What the items are, in the order of ``items``; None if nothing is known.
        users: ``user_id`` and attributes; None if there is no users table.
        item_context: Columns of ``ITEM_CONTEXT`` and those of the config; None if there is none.
        engine: Runs the tasks of the buckets; None for one by one in this process.

    Returns:
        Reference to the snapshot.

    Raises:
        SchemaError: A required column is missing.
        ConfigError: A context column is missing or not numeric.
        NotEnoughData: No event is left after the filter by event type.
        StoreError: The snapshot cannot be written.
    """
    if data_version and _is_intact(known_snapshot := out / _digest(config, data_version)):
        return read_ref(known_snapshot)
    with translate_store_errors("features"), temporary_folder(out, ".draft-") as temporary_dir:
        draft_dir = temporary_dir / "snapshot"
        draft_dir.mkdir()
        sources = (items, readings, config, _content_ids(items, content))
        _write_tables(draft_dir, events, *sources, engine or LocalEngine())
        _write_content(draft_dir, items, content)
        _write_users(draft_dir, users)
        _write_item_context(draft_dir, item_context, config)
        content_digest = _digest(config, data_version or _content_digest(draft_dir))
        _write_meta(draft_dir, content_digest, config)
        _publish(draft_dir, out / content_digest)
    return read_ref(out / content_digest)


def read_ref(snapshot_dir: Path) -> FeatureRef:
    """Read the reference of a snapshot from the metadata file in its folder.

    Raises:
        StoreError: The metadata file is missing or damaged.
    """
    snapshot_meta = _read_meta(snapshot_dir)
    return FeatureRef(
        snapshot_dir,
        snapshot_meta["digest"],
        snapshot_meta["n_events"],
        snapshot_meta["n_users"],
        snapshot_meta["n_items"],
    )


def read_verified_meta(snapshot_dir: Path) -> JsonObject:
    """Read the metadata of a snapshot and verify the checksums of its files.

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
            for file_name in (*_FILES, *checksums.keys() - set(_FILES))
            if file_checksum(snapshot_dir / file_name) != checksums.get(file_name)
        ]
    except OSError as error:
        raise StoreError(
            "The feature snapshot is incomplete", received=error, way_out=_way_out(snapshot_dir)
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
        "Run the ingestion again, which rebuilds a damaged snapshot, or delete "
        f"{snapshot_dir} and call build_features"
    )


def _is_intact(snapshot_dir: Path) -> bool:
    """Whether a usable snapshot exists; a warning is logged if it is damaged."""
    if not (snapshot_dir / META).exists():
        return False
    try:
        read_verified_meta(snapshot_dir)
    except StoreError as error:
        _LOG.warning("The feature snapshot is damaged and is rebuilt: %s", error)
        return False
    return True


def _write_tables(
    draft_dir: Path,
    events: EventsSource | EventBuckets,
    items: pa.Table | None,
    readings: pa.Table | None,
    config: FeaturesConfig,
    content_ids: pa.Table,
    engine: Engine,
) -> None:
    """Write the numeric tables, one row group at a time; DuckDB spills to disk if needed."""
    if isinstance(events, EventBuckets):
        write_joined_tables(draft_dir, events, items, readings, config, content_ids, engine)
        return
    spill_dir = draft_dir.with_name("spilled")
    with snapshot_database(DUCKDB_MEMORY, spill_dir) as database_connection:
        register_sources(database_connection, events, items, config)
        database_connection.execute(queries.EVENTS, {"types": list(config.event_types)})
        if database_connection.execute("SELECT count(*) FROM ev").fetchall()[0][0] == 0:
            raise no_events_error(config.event_types)
        database_connection.register("content_ids", content_ids)
        database_connection.execute(queries.IDS + queries.ITEM_STATISTICS + queries.ITEM_ATTRIBUTES)
        database_connection.execute(
            queries.ITEM_PLACES if config.items_are_places else queries.EVENT_PLACES
        )
        context_join.join_context(database_connection, readings, config.context_table)
        for table_name in TABLES:
            table_query = database_connection.sql(queries.SNAPSHOT_TABLES[table_name])
            batch_reader = table_query.to_arrow_reader(ROW_GROUP_ROWS)
            write_table_file(batch_reader, draft_dir / f"{table_name}.parquet")


def _content_ids(items: pa.Table | None, content: ItemContent | None) -> pa.Table:
    """Ids of the items that have content, in a column ``id``."""
    if items is None or content is None:
        return pa.table({"id": pa.array([], pa.string())})
    has_content = pa.array(content.vectors.any(axis=1))
    return pa.table({"id": items.column(c.ITEM_ID).filter(has_content)})


def _write_content(draft_dir: Path, items: pa.Table | None, content: ItemContent | None) -> None:
    """Write the content in the order of the snapshot's items, and its axes, if there is any."""
    if items is None or content is None:
        return
    snapshot_ids = pq.read_table(draft_dir / "items.parquet", columns=["id"]).column("id")
    rows = pc.index_in(snapshot_ids, items.column(c.ITEM_ID).combine_chunks())
    row_idx = np.asarray(rows.fill_null(-1).to_numpy(), np.int64)
    row_vectors = np.zeros((1 + len(row_idx), content.axes.width), np.float32)
    row_vectors[1:][row_idx >= 0] = content.vectors[row_idx[row_idx >= 0]]
    np.save(draft_dir / CONTENT_VECTORS, row_vectors, allow_pickle=False)
    content.axes.save(draft_dir / CONTENT_AXES)


def _ids(draft_dir: Path, table_name: str) -> IdMap:
    id_table = pq.read_table(draft_dir / f"{table_name}.parquet", columns=["id"])
    return IdMap(id_table["id"].combine_chunks())


def _write_users(draft_dir: Path, users: pa.Table | None) -> None:
    """Write the attributes of the users, if there are any."""
    if users is not None:
        attributes = UserAttributes.from_table(users, _ids(draft_dir, "users"))
        attributes.save(draft_dir / USER_ATTRIBUTES)


def _write_item_context(
    draft_dir: Path, item_context: pads.Dataset | None, config: FeaturesConfig
) -> None:
    """Write the index of the item context over the snapshot's items and places, if any."""
    if item_context is None or not config.item_context:
        return

    def read_rows(column_names: list[str]) -> Iterator[pa.RecordBatch]:
        return iter(item_context.to_batches(columns=column_names))

    items, places = (_ids(draft_dir, name) for name in ("items", "places"))
    columns = item_context_columns(read_rows, config.item_context)
    build_item_context(read_rows, columns, items, places).save(draft_dir)


def _written_files(draft_dir: Path) -> tuple[str, ...]:
    """Files of a snapshot, those of content and user attributes where there are any."""
    return (*_FILES, *(name for name in _OPTIONAL_FILES if (draft_dir / name).is_file()))


def _digest(config: FeaturesConfig, data_id: str) -> str:
    # without item context the digest is that of versions that knew none
    unused = set() if config.item_context else {"item_context"}
    settings = config.model_dump(mode="json", exclude=unused)
    digest_input = json.dumps([FORMAT, settings, data_id], sort_keys=True)
    return hashlib.sha256(digest_input.encode()).hexdigest()[:16]


def _content_digest(draft_dir: Path) -> str:
    """Digest of the content of all table files."""
    content_digest = hashlib.sha256()
    for file_name in _written_files(draft_dir):
        with (draft_dir / file_name).open("rb") as file:
            content_digest.update(hashlib.file_digest(file, "sha256").digest())
    return content_digest.hexdigest()


def _write_meta(draft_dir: Path, snapshot_digest: str, config: FeaturesConfig) -> None:
    """Flush the table files to disk, then write the metadata with their checksums."""
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
    file_names = _written_files(draft_dir)
    for file_name in file_names:
        sync_file(draft_dir / file_name)
    checksums = {file_name: file_checksum(draft_dir / file_name) for file_name in file_names}
    write_json(draft_dir / META, {**snapshot_meta, "checksums": checksums})


def _publish(draft_dir: Path, snapshot_dir: Path) -> None:
    """Move a finished snapshot to its final folder; an intact one there is kept."""
    if not _is_intact(snapshot_dir):
        shutil.rmtree(snapshot_dir, ignore_errors=True)
        draft_dir.rename(snapshot_dir)
        sync_folder(snapshot_dir.parent)
