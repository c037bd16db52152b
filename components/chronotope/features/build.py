"""Turn events of the lake into the numeric log that models read, once per data version."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts.errors import NotEnoughData, StoreError
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
        readings: Columns of ``SURROUNDINGS`` and numbers; None if there are none.

    Returns:
        Where the snapshot is and what it holds.

    Raises:
        SchemaError: A required column is missing.
        ConfigError: A context column is missing or not numeric.
        NotEnoughData: No event is left.
        StoreError: The disk refused.
    """
    if data_version is not None:
        known = out / _digest(config, data_version)
        if _is_whole(known):
            return read_ref(known)
    with translate_store_errors("features"), temporary_folder(out, ".draft-") as folder:
        draft = folder / "snapshot"
        draft.mkdir()
        _write_tables(draft, events, items, readings, config)
        digest = _digest(config, data_version or _content(draft))
        _describe(draft, digest, config)
        _publish(draft, out / digest)
    return read_ref(out / digest)


def read_ref(path: Path) -> FeatureRef:
    """The reference of a snapshot's folder, from the meta file in it.

    Raises:
        StoreError: The meta file is missing or damaged.
    """
    meta = _read_meta(path)
    return FeatureRef(path, meta["digest"], meta["n_events"], meta["n_users"], meta["n_items"])


def read_checked(path: Path) -> dict[str, Any]:
    """What the meta file says of a snapshot, whose files all have the checksums named there.

    Args:
        path: Folder of the snapshot.

    Raises:
        StoreError: A file is missing or damaged.
    """
    meta = _read_meta(path)
    checksums = meta.get("checksums", {})
    try:
        wrong = [n for n in _FILES if file_checksum(path / n) != checksums.get(n)]
    except OSError as error:
        raise StoreError(
            "The feature snapshot is not whole", received=error, way_out=_way_out(path)
        ) from error
    if wrong:
        raise StoreError(
            "Files of the feature snapshot differ from their checksums",
            received=", ".join(str(path / name) for name in wrong),
            way_out=_way_out(path),
        )
    return meta


def _read_meta(path: Path) -> dict[str, Any]:
    return read_json(path / META, what="The feature snapshot", way_out=_way_out(path))


def _way_out(path: Path) -> str:
    return (
        f"Run again: an ingestion builds a damaged snapshot anew; or delete {path} and build it "
        "again with build_features"
    )


def _is_whole(path: Path) -> bool:
    """Whether there is a snapshot that can be used; one that is damaged is told of."""
    if not (path / META).exists():
        return False
    try:
        read_checked(path)
    except StoreError as error:
        _LOG.warning("A feature snapshot is built again: %s", error)
        return False
    return True


def _write_tables(
    draft: Path,
    events: EventsSource,
    items: pa.Table | None,
    readings: pa.Table | None,
    config: FeaturesConfig,
) -> None:
    """Write the numeric tables, row group by row group; what does not fit is spilled."""
    spilled = str(draft.with_name("spilled"))
    with (
        _bounds(),
        duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": spilled}) as con,
    ):
        register_sources(con, events, items, config)
        con.execute(queries.EVENTS, {"types": list(config.event_types)})
        if con.execute("SELECT count(*) FROM ev").fetchall()[0][0] == 0:
            raise NotEnoughData(
                "No events are left to build features from",
                received=f"event types {list(config.event_types)}",
                way_out="Ingest events, or keep other event types",
            )
        con.execute(queries.INDICES)
        con.execute(queries.ITEM_PLACES if config.items_are_places else queries.EVENT_PLACES)
        context_join.join_context(con, readings, config.surroundings)
        for name in TABLES:
            reader = con.sql(queries.OUT[name]).to_arrow_reader(_ROWS)
            _write(reader, draft / f"{name}.parquet")


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


def _write(reader: pa.RecordBatchReader, path: Path) -> None:
    """Write rows as they come, in row groups of one size, so that equal rows are equal files."""
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        waiting = reader.schema.empty_table()
        for batch in reader:
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
            while len(waiting) >= _ROWS:
                writer.write_table(waiting.slice(0, _ROWS))
                waiting = waiting.slice(_ROWS)
        writer.write_table(waiting)


def _digest(config: FeaturesConfig, data: str) -> str:
    content = json.dumps([FORMAT, config.model_dump(mode="json"), data], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _content(draft: Path) -> str:
    """Digest of the files."""
    digest = hashlib.sha256()
    for name in TABLES:
        with (draft / f"{name}.parquet").open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _describe(draft: Path, digest: str, config: FeaturesConfig) -> None:
    counted = ("events", "users", "items")
    rows = {f"n_{n}": pq.read_metadata(draft / f"{n}.parquet").num_rows for n in counted}
    meta = {"format": FORMAT, "digest": digest, "config": config.model_dump(mode="json"), **rows}
    for name in _FILES:
        sync_file(draft / name)
    checksums = {name: file_checksum(draft / name) for name in _FILES}
    write_json(draft / META, {**meta, "checksums": checksums})


def _publish(draft: Path, target: Path) -> None:
    """Put a finished snapshot in its place; a whole one already there is the same."""
    if not _is_whole(target):
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        sync_folder(target.parent)
