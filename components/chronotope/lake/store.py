"""Lake of one dataset: versioned Delta tables with atomic merges."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from chronotope.contracts import columns as c
from chronotope.contracts.data_version import TableVersion
from chronotope.contracts.errors import StoreError
from chronotope.lake.bucketed import (
    BucketsChanged,
    MergeCounts,
    StagedDelivery,
    bucket_rows,
    bucket_uris,
    commit_buckets,
    count_buckets,
    require_bucket,
    stage_rows,
    staged_delivery,
    staged_for,
)
from chronotope.lake.merge_conditions import (
    create_table,
    merge_changed,
    open_merge,
    retry_commit,
)
from chronotope.lake.repeated_rows import find_repeated_rows
from chronotope.lake.row_conformance import (
    conform_rows,
    conformed_reader,
    conformed_schema,
    first_occurrence_mask,
    stream_rows,
    unique_by_key,
)
from chronotope.lake.staged_batch import NO_CLEANUP, StagedBatch, commit_first_version
from chronotope.lake.store_errors import translate_store_errors
from chronotope.lake.table_identity import identify_version, open_version
from chronotope.lake.table_schemas import ROW as ROW
from chronotope.lake.table_schemas import TABLE_KEYS, TABLE_SCHEMAS
from chronotope.lake.text_filter import refused_rows_predicate
from chronotope.runtime.engine.local import LocalEngine
from chronotope.runtime.engine.protocol import Engine
from chronotope.runtime.store_urls import Location

_QUARANTINE_KEY: Final = (c.RUN_ID, c.SOURCE, ROW, c.PAYLOAD)


@dataclass(frozen=True, slots=True)
class Lake:
    """Tables of a dataset: ``events``, ``items``, ``users`` and others, see ``table_schemas``.

    Every write is one Delta commit: after a kill or on a full disk the previous version is
    intact. If two processes write at the same time, the slower one retries.

    Attributes:
        root: Folder of the dataset, or its address in an object store; it contains one folder
            per table.
    """

    root: Location

    def merge_events(self, event_rows: pa.Table | pads.Dataset) -> MergeCounts:
        """Insert the events whose ``event_id`` is not in the table.

        The ids of ``event_rows`` are held in memory; the rows are streamed. If an id repeats
        within the delivery, the first row is kept. Columns that are new are added to the table.

        Raises:
            SchemaError: A required column is missing, null or has another type.
            StoreError: The lake could not be written.
        """
        if self._present_buckets(1) > 1:
            with self.delivery() as delivery:
                stage_rows(delivery, event_rows)
                return self.merge_delivery(delivery)
        table_schema = self._schema("events", event_rows.schema)
        source_rows = (
            pads.dataset(conform_rows(event_rows, table_schema))
            if isinstance(event_rows, pa.Table)
            else event_rows
        )
        keep_mask = first_occurrence_mask(source_rows.to_table(columns=[c.EVENT_ID]).column(0))
        n_rows = source_rows.count_rows()
        n_inserted = self._insert_new("events", source_rows, table_schema, (c.EVENT_ID,), keep_mask)
        return MergeCounts(n_inserted, n_rows - n_inserted, self.version("events"))

    def delivery(
        self, n_buckets: int = 1, shared_dir: Path | None = None
    ) -> AbstractContextManager[StagedDelivery]:
        """Context manager of a delivery: batches are staged on a disk, then merged.

        Args:
            n_buckets: Number of buckets of a new table; one that exists keeps its own.
            shared_dir: Where a lake in an object store stages them; None for ``TMPDIR``.
        """
        return staged_delivery(self.root, self._present_buckets(n_buckets), shared_dir)

    def merge_delivery(self, delivery: StagedDelivery, engine: Engine | None = None) -> MergeCounts:
        """Insert the staged events as ``merge_events`` does, in one commit.

        In a local lake the files of the first delivery are moved into the table, so that no
        row is written twice. A table with buckets is compared with the delivery by bucket.

        Args:
            delivery: The staged events.
            engine: Engine of the tasks, one per bucket; None for this process.

        Raises:
            SchemaError: A column has another type in the table.
            StoreError: The lake could not be written.
        """
        n_rows, staged = delivery.n_rows(), delivery
        while True:
            staged = staged_for(staged, self._present_buckets(staged.n_buckets))
            try:
                if isinstance(staged, StagedBatch):
                    repeated = find_repeated_rows(staged)
                    n_inserted = self._merge_batch(staged)
                else:
                    with translate_store_errors("events"):
                        bucket_commit = commit_buckets(self.root, staged, engine or LocalEngine())
                    n_inserted, repeated = bucket_commit.n_inserted, bucket_commit.repeated
            except BucketsChanged:  # a migration was committed meanwhile
                continue
            return MergeCounts(n_inserted, n_rows - n_inserted, self.version("events"), repeated)

    def upsert_items(self, item_rows: pa.Table) -> int:
        """Insert new items and update changed ones by ``item_id``; returns the version."""
        return self.upsert_keyed("items", item_rows)

    def upsert_users(self, user_rows: pa.Table) -> int:
        """Insert new users and update changed ones by ``user_id``; returns the version."""
        return self.upsert_keyed("users", user_rows)

    def upsert_context(self, reading_rows: pa.Table) -> int:
        """Insert new context readings and update changed ones; returns the version."""
        return self.upsert_keyed("context", reading_rows)

    def upsert_embeddings(self, embedding_rows: pa.Table) -> int:
        """Insert new item embeddings and update changed ones; returns the version."""
        return self.upsert_keyed("item_embeddings", embedding_rows)

    def upsert_encoders(self, encoder_rows: pa.Table) -> int:
        """Insert new content encoders and update known ones; returns the version."""
        return self.upsert_keyed("content_encoders", encoder_rows)

    def upsert_keyed(self, table_name: str, keyed_rows: pa.Table) -> int:
        """Insert new rows of one of ``TABLE_KEYS`` and update changed ones; returns the version."""
        table_schema = self._schema(table_name, keyed_rows.schema)
        rows = unique_by_key(conform_rows(keyed_rows, table_schema), TABLE_KEYS[table_name])
        return self._merge_changed(table_name, lambda: rows)

    def upsert_stream(
        self, table_name: str, row_schema: pa.Schema, read_rows: Callable[[], Iterable[pa.Table]]
    ) -> int:
        """``upsert_keyed`` in one commit of rows with unique keys, read again after a conflict."""
        table_schema = self._schema(table_name, row_schema)
        return self._merge_changed(table_name, lambda: conformed_reader(read_rows(), table_schema))

    def quarantine(self, refused_rows: pa.Table) -> int:
        """Insert refused rows into the quarantine; a row of the same run is inserted once.

        Args:
            refused_rows: Columns of ``QUARANTINE`` and ``row``, the position in the delivery.

        Returns:
            Number of rows inserted.
        """
        table_schema = self._schema("quarantine", refused_rows.schema)
        if not len(refused_rows):
            return 0
        source_rows = pads.dataset(conform_rows(refused_rows, table_schema))
        return self._insert_new("quarantine", source_rows, table_schema, _QUARANTINE_KEY, None)

    def release_quarantine(self, run_id: str, rows: Sequence[int] | None = None) -> int:
        """Delete a run's quarantined rows, or those at some positions, after their replay."""
        if not self.exists("quarantine"):
            return 0
        predicate = refused_rows_predicate(run_id, rows)
        with translate_store_errors("quarantine"):
            table = self._open("quarantine")
            metrics = table.delete(predicate, post_commithook_properties=NO_CLEANUP)
        return int(metrics["num_deleted_rows"] or 0)

    def exists(self, table_name: str) -> bool:
        """Whether a table exists.

        Raises:
            StoreError: The object store does not respond, or denies access.
        """
        table_uri = self.address(table_name)
        if isinstance(self.root, Path):
            return DeltaTable.is_deltatable(table_uri)
        with translate_store_errors(table_name):
            try:
                DeltaTable(table_uri)  # unlike is_deltatable, it does not block other threads
            except TableNotFoundError:
                return False
        return True

    def address(self, table_name: str) -> str:
        """Path or object store address of a table.

        Raises:
            StoreError: The name is not that of a table of the lake.
        """
        if table_name not in TABLE_SCHEMAS:
            raise StoreError(
                f"The lake has no table {table_name!r}",
                way_out=f"Choose one of {list(TABLE_SCHEMAS)}",
            )
        return f"{self.root}/{table_name}"

    def version(self, table_name: str) -> int:
        """Number of a table's latest version; see ``table_version`` for its identity."""
        return self._open(table_name).version()

    def table_version(self, table_name: str) -> TableVersion:
        """Latest version of a table with its identity, to store beside anything built from it."""
        delta_table = self._open(table_name)
        with translate_store_errors(table_name):
            return identify_version(delta_table)

    def holds(self, table_name: str, version: TableVersion) -> bool:
        """Whether a version is in the table's history with the same identity.

        It is not if the table was replaced, or restored and written again, or its log was cut.

        Raises:
            StoreError: The lake cannot be read.
        """
        if not self.exists(table_name) or self.version(table_name) < version.number:
            return False
        try:
            self._open(table_name, version)
        except StoreError:
            return False
        return True

    def n_added_rows(self, table_name: str) -> int:
        """Number of rows that the latest version added; all where an earlier one was erased."""
        latest = self.version(table_name)
        try:
            n_before = self.dataset(table_name, latest - 1).count_rows() if latest else 0
        except StoreError:
            n_before = 0
        return int(self.dataset(table_name, latest).count_rows() - n_before)

    def read(
        self,
        table_name: str,
        version: int | TableVersion | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Rows of a table at a version (None: the latest); ``columns`` selects columns."""
        names = None if columns is None else list(columns)
        with translate_store_errors(table_name):
            return self.dataset(table_name, version).to_table(columns=names)

    def dataset(self, table_name: str, version: int | TableVersion | None = None) -> pads.Dataset:
        """Dataset of a table at a version, which can be scanned without loading it.

        Args:
            table_name: Name of the table.
            version: Version to read; None for the latest.

        Raises:
            StoreError: The version does not exist, or the table was replaced.
        """
        return bucket_rows(self._open(table_name, version))

    def reader(
        self,
        table_name: str,
        version: int | TableVersion,
        keep_mask: npt.NDArray[np.bool_] | None = None,
    ) -> pa.RecordBatchReader:
        """Reader of a version's rows in the order of ``dataset``; ``keep_mask`` selects rows."""
        version_rows = self.dataset(table_name, version)
        return stream_rows(version_rows, version_rows.schema, keep_mask)

    def files(self, table_name: str, version: int | None = None) -> list[str]:
        """Paths of the Parquet files of a version, for DuckDB's ``read_parquet``."""
        return [unquote(file_uri) for file_uri in self._open(table_name, version).file_uris()]

    def n_buckets(self, version: int | TableVersion | None = None) -> int:
        """Number of buckets of users of the events at a version; 1 if they are not partitioned."""
        return count_buckets(self._open("events", version))

    def bucket_rows(self, bucket: int, version: int | TableVersion | None = None) -> pads.Dataset:
        """Events of one bucket at a version, as a dataset that reads the files of the bucket.

        Args:
            bucket: Bucket of users, 0 to ``n_buckets - 1``.
            version: Version to read; None for the latest.

        Raises:
            StoreError: The version has no such bucket.
        """
        return bucket_rows(self._open_bucket(bucket, version), bucket)

    def bucket_files(self, bucket: int, version: int | TableVersion | None = None) -> list[str]:
        """Paths or addresses of the files of one bucket; see ``bucket_rows``."""
        return bucket_uris(self._open_bucket(bucket, version), bucket)

    def _open_bucket(self, bucket: int, version: int | TableVersion | None) -> DeltaTable:
        return require_bucket(self._open("events", version), bucket)

    def _open(self, table_name: str, version: int | TableVersion | None = None) -> DeltaTable:
        return open_version(self.address(table_name), table_name, version)

    def _schema(self, table_name: str, row_schema: pa.Schema) -> pa.Schema:
        """Schema of rows to write: their columns, then further columns of the table."""
        write_schema = conformed_schema(row_schema, TABLE_SCHEMAS[table_name])
        if not self.exists(table_name):
            return write_schema
        known_schema = self.dataset(table_name).schema
        return pa.schema(
            [
                *write_schema,
                *(field for field in known_schema if field.name not in write_schema.names),
            ]
        )

    def _present_buckets(self, n_buckets: int) -> int:
        """Number of buckets of the events; the given one while there is no table."""
        return self.n_buckets() if self.exists("events") else n_buckets

    def _create(
        self, table_name: str, read_rows: Callable[[], pa.Table | pa.RecordBatchReader]
    ) -> bool:
        return not self.exists(table_name) and create_table(self.root, table_name, read_rows)

    def _merge_batch(self, delivery: StagedBatch) -> int:
        """Merge a delivery into a table without buckets; returns the number of rows inserted."""
        if isinstance(self.root, Path) and not self.exists("events"):
            with translate_store_errors("events"):
                n_inserted = delivery.drop_duplicates()
                commit_first_version(delivery, self.root / "events")
            return n_inserted
        table_schema = self._schema("events", delivery.schema)
        keep_mask = delivery.first_row_mask()
        return self._insert_new(
            "events", delivery.dataset(), table_schema, (c.EVENT_ID,), keep_mask
        )

    def _insert_new(
        self,
        table_name: str,
        source_rows: pads.Dataset,
        table_schema: pa.Schema,
        key_columns: Sequence[str],
        keep_mask: npt.NDArray[np.bool_] | None,
    ) -> int:
        """Create the table, or MERGE rows whose key is new; returns the number of rows inserted."""

        def insert() -> int:
            if self._create(table_name, lambda: stream_rows(source_rows, table_schema, keep_mask)):
                return source_rows.count_rows() if keep_mask is None else int(keep_mask.sum())
            new_rows = stream_rows(source_rows, table_schema, keep_mask)
            delta_table = self._open(table_name)
            if delta_table.metadata().partition_columns:
                raise BucketsChanged
            table_merger = open_merge(delta_table, new_rows, key_columns)
            return int(
                table_merger.when_not_matched_insert_all().execute()["num_target_rows_inserted"]
            )

        with translate_store_errors(table_name):
            return retry_commit(insert)

    def _merge_changed(
        self, table_name: str, read_rows: Callable[[], pa.Table | pa.RecordBatchReader]
    ) -> int:
        """Create a table, or MERGE new and changed rows into it; returns the version."""

        def merge() -> int:
            if self._create(table_name, read_rows):
                return 0
            known_columns = self.dataset(table_name).schema.names
            key_columns = TABLE_KEYS[table_name]
            merge_changed(self._open(table_name), read_rows(), key_columns, known_columns)
            return self.version(table_name)

        with translate_store_errors(table_name):
            return retry_commit(merge)
