"""One dataset's lake: Delta tables that are merged into, versioned and atomic."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from chronotope.contracts import columns as c
from chronotope.contracts.data_version import TableVersion
from chronotope.contracts.errors import StoreError
from chronotope.contracts.schemas import EVENTS, ITEMS, QUARANTINE, SURROUNDINGS, USERS
from chronotope.lake.row_conformance import (
    conform_rows,
    conformed_schema,
    first_occurrence_mask,
    stream_rows,
)
from chronotope.lake.staged_batch import (
    ALL_VERSIONS,
    FIRST,
    NO_CLEANUP,
    StagedBatch,
    commit_first_version,
    staging_folder,
)
from chronotope.lake.store_errors import translate_store_errors
from chronotope.lake.table_identity import identified
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.store_urls import Location

ROW: Final = "row"
"""Position of a quarantined row in its delivery; with the run it tells rows apart."""

_SCHEMAS: Final = {
    "events": EVENTS,
    "items": ITEMS,
    "users": USERS,
    "surroundings": SURROUNDINGS,
    "quarantine": pa.schema([*QUARANTINE, pa.field(ROW, pa.int64(), nullable=False)]),
}
_QUARANTINE_KEY: Final = (c.RUN_ID, c.SOURCE, ROW, c.PAYLOAD)

_ATTEMPTS: Final = 10
"""How often a write is begun again because another committed meanwhile."""


@dataclass(frozen=True, slots=True)
class MergeCounts:
    """What a merge did.

    Attributes:
        inserted: Rows that are new in the table.
        duplicates: Rows whose key was in the table, or earlier in the delivery.
        version: Version of the table afterwards.
    """

    inserted: int
    duplicates: int
    version: int


@dataclass(frozen=True, slots=True)
class Lake:
    """Tables ``events``, ``items``, ``users``, ``surroundings``, ``quarantine`` of a dataset.

    Every write is one Delta commit: a kill or a full disk at any moment leaves the
    previous version whole. Of two that write at once, the slower begins again.

    Attributes:
        root: Folder of the dataset, or its address in an object store; one folder a table
            below it.
    """

    root: Location

    def merge_events(self, rows: pa.Table | pads.Dataset) -> MergeCounts:
        """Insert the events whose ``event_id`` the table does not have yet.

        Only the ids of ``rows`` are held in memory together; the rows stream. Of equal
        ids in one delivery the first row stays. Columns the table does not know are
        added to it.

        Raises:
            SchemaError: A required column is missing, null or of another type.
            StoreError: The lake could not be written.
        """
        schema = self._schema("events", rows.schema)
        source = pads.dataset(conform_rows(rows, schema)) if isinstance(rows, pa.Table) else rows
        keep = first_occurrence_mask(source.to_table(columns=[c.EVENT_ID]).column(0))
        n_rows = source.count_rows()
        inserted = self._insert_new("events", source, schema, (c.EVENT_ID,), keep)
        return MergeCounts(inserted, n_rows - inserted, self.version("events"))

    def delivery(self) -> AbstractContextManager[StagedBatch]:
        """Open a delivery of events: batches are staged on a disk, then merged."""
        return staging_folder(self.root)

    def merge_delivery(self, delivery: StagedBatch) -> MergeCounts:
        """Insert what was staged, as ``merge_events`` would, in one commit.

        The files of a first delivery become the table's own, where the lake is a folder;
        nothing is written twice.

        Raises:
            SchemaError: A column has another type in the table.
            StoreError: The lake could not be written.
        """
        n_rows = delivery.n_rows()
        if isinstance(self.root, Path) and not self.exists("events"):
            with translate_store_errors("events"):
                inserted = delivery.leave_out_repeated()
                commit_first_version(delivery, self.root / "events")
        else:
            schema = self._schema("events", delivery.schema)
            rows, keep = delivery.dataset(), delivery.keep()
            inserted = self._insert_new("events", rows, schema, (c.EVENT_ID,), keep)
        return MergeCounts(inserted, n_rows - inserted, self.version("events"))

    def upsert_items(self, rows: pa.Table) -> int:
        """Insert new items and update changed ones by ``item_id``; returns the version."""
        return self._upsert("items", rows, c.ITEM_ID)

    def upsert_users(self, rows: pa.Table) -> int:
        """Insert new users and update changed ones by ``user_id``; returns the version."""
        return self._upsert("users", rows, c.USER_ID)

    def upsert_surroundings(self, rows: pa.Table) -> int:
        """Insert new readings and correct known ones; returns the version."""
        return self._upsert("surroundings", rows, c.EVENT_ID)

    def quarantine(self, rows: pa.Table) -> int:
        """Keep refused rows; the same rows of the same run are kept once.

        Args:
            rows: Columns of ``QUARANTINE`` and ``row``, the position in the delivery.

        Returns:
            Rows that were not yet there.
        """
        schema = self._schema("quarantine", rows.schema)
        if not len(rows):
            return 0
        source = pads.dataset(conform_rows(rows, schema))
        return self._insert_new("quarantine", source, schema, _QUARANTINE_KEY, None)

    def release_quarantine(self, run_id: str) -> int:
        """Drop a run's quarantined rows, after a replay took them over; returns how many."""
        if not self.exists("quarantine"):
            return 0
        with translate_store_errors("quarantine"):
            quoted = run_id.replace("'", "''")
            done = self._open("quarantine").delete(
                f"{c.RUN_ID} = '{quoted}'", post_commithook_properties=NO_CLEANUP
            )
        return int(done["num_deleted_rows"] or 0)

    def exists(self, table: str) -> bool:
        """Whether a table has ever been written.

        Raises:
            StoreError: An object store does not answer, or refuses.
        """
        address = self.address(table)
        if isinstance(self.root, Path):
            return DeltaTable.is_deltatable(address)
        with translate_store_errors(table):
            try:
                DeltaTable(address)  # other threads run meanwhile; is_deltatable stops them all
            except TableNotFoundError:
                return False
        return True

    def address(self, table: str) -> str:
        """Where a table lies.

        Raises:
            StoreError: A lake has no such table.
        """
        if table not in _SCHEMAS:
            raise StoreError(
                f"The lake has no table {table!r}", way_out=f"Choose one of {list(_SCHEMAS)}"
            )
        return f"{self.root}/{table}"

    def version(self, table: str) -> int:
        """Number of a table's latest version; ``table_version`` tells it from other tables'."""
        return self._open(table).version()

    def table_version(self, table: str) -> TableVersion:
        """Latest version of a table: what to remember of data that something was made of."""
        opened = self._open(table)
        with translate_store_errors(table):
            return identified(opened)

    def holds(self, table: str, version: TableVersion) -> bool:
        """Whether a version is in the table's history, under the same identity.

        Not if another table took its place, or it was set back to an earlier version and written
        to again. A version whose log entries were cleaned up counts as not held.

        Raises:
            StoreError: The lake cannot be read.
        """
        if not self.exists(table) or self.version(table) < version.number:
            return False
        try:
            self._open(table, version)
        except StoreError:
            return False
        return True

    def n_last(self, table: str) -> int:
        """Rows that the latest version of a table has more than the one before."""
        version = self.version(table)
        before = self.dataset(table, version - 1).count_rows() if version else 0
        return int(self.dataset(table, version).count_rows() - before)

    def read(
        self,
        table: str,
        version: int | TableVersion | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """A table, or some of its columns, as of a version (None: the latest)."""
        names = None if columns is None else list(columns)
        with translate_store_errors(table):
            return self.dataset(table, version).to_table(columns=names)

    def dataset(self, table: str, version: int | TableVersion | None = None) -> pads.Dataset:
        """A table as of a version, to scan without loading it.

        Raises:
            StoreError: There is no such version, or it is another table's by now.
        """
        opened = self._open(table, version)
        wanted = pa.schema(opened.schema().to_arrow())
        return opened.to_pyarrow_dataset(schema=wanted)

    def reader(
        self, table: str, version: int | TableVersion, keep: npt.NDArray[np.bool_] | None = None
    ) -> pa.RecordBatchReader:
        """A version's rows batch by batch, in the order of ``dataset``; only those to keep."""
        rows = self.dataset(table, version)
        return stream_rows(rows, rows.schema, keep)

    def files(self, table: str, version: int | None = None) -> list[str]:
        """Paths of the Parquet files of a version, for DuckDB's ``read_parquet``."""
        return [unquote(uri) for uri in self._open(table, version).file_uris()]

    def _open(self, table: str, version: int | TableVersion | None = None) -> DeltaTable:
        address, wanted = self.address(table), version
        number = wanted.number if isinstance(wanted, TableVersion) else wanted
        with translate_store_errors(table):
            try:
                opened = DeltaTable(address, version=number)
            except TableNotFoundError as error:
                if version is not None and self.exists(table):
                    raise StoreError(
                        f"Version {version} of table {table!r} is no longer there",
                        received=f"{address}, whose latest version is {self.version(table)}",
                        way_out="Ask for a later version, or restore the table's _delta_log",
                    ) from error
                raise StoreError(
                    f"Table {table!r} has not been written yet",
                    received=address,
                    way_out="Ingest a delivery first",
                ) from error
            present = identified(opened) if isinstance(wanted, TableVersion) else wanted
        if present != wanted:
            raise StoreError(
                f"Table {table!r} was replaced: this version holds other rows now",
                received=f"{address}: version {present}, wanted {wanted}",
                way_out="Run again: the table is then read as it is now",
            )
        return opened

    def _schema(self, table: str, found: pa.Schema) -> pa.Schema:
        """Schema of rows to write: what they carry and what the table already has."""
        schema = conformed_schema(found, _SCHEMAS[table])
        if not self.exists(table):
            return schema
        known = self.dataset(table).schema
        return pa.schema([*schema, *(field for field in known if field.name not in schema.names)])

    def _insert_new(
        self,
        table: str,
        rows: pads.Dataset,
        schema: pa.Schema,
        key: Sequence[str],
        keep: npt.NDArray[np.bool_] | None,
    ) -> int:
        """Write the first version, or MERGE rows whose key is new; returns how many."""

        def insert() -> int:
            if self._created(table, lambda: stream_rows(rows, schema, keep)):
                return rows.count_rows() if keep is None else int(keep.sum())
            merge = self._open(table).merge(
                stream_rows(rows, schema, keep),
                _same(key),
                source_alias="s",
                target_alias="t",
                merge_schema=True,
                post_commithook_properties=NO_CLEANUP,
            )
            return int(merge.when_not_matched_insert_all().execute()["num_target_rows_inserted"])

        with translate_store_errors(table):
            return _begun_again(insert)

    def _upsert(self, table: str, rows: pa.Table, key: str) -> int:
        schema = self._schema(table, rows.schema)
        unique = conform_rows(rows, schema)
        keep = first_occurrence_mask(unique.column(key))
        unique = unique if keep is None else unique.filter(pa.array(keep))

        def upsert() -> int:
            if self._created(table, lambda: unique):
                return 0
            merge = self._open(table).merge(
                unique,
                _same([key]),
                source_alias="s",
                target_alias="t",
                merge_schema=True,
                post_commithook_properties=NO_CLEANUP,
            )
            known = self.dataset(table).schema.names
            changed = [_changed(name, name in known) for name in schema.names if name != key]
            if changed:
                merge = merge.when_matched_update_all(" OR ".join(changed))
            merge.when_not_matched_insert_all().execute()
            return self.version(table)

        with translate_store_errors(table):
            return _begun_again(upsert)

    def _created(self, table: str, rows: Callable[[], pa.Table | pa.RecordBatchReader]) -> bool:
        """Write the first version; False if there is one by now."""
        if self.exists(table):
            return False
        if isinstance(self.root, Path):
            private_folder(self.root)
        try:
            write_deltalake(
                self.address(table),
                rows(),
                mode="error",
                configuration=ALL_VERSIONS,
                commit_properties=FIRST,
            )
        except DeltaError:
            if not self.exists(table):
                raise
            return False
        return True


def _begun_again(write: Callable[[], int]) -> int:
    """Write on top of what another committed meanwhile, however often that happens."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return write()
        except CommitFailedError:
            continue
    return write()


def _same(key: Sequence[str]) -> str:
    return " AND ".join(f't."{name}" = s."{name}"' for name in key)


def _changed(name: str, known: bool) -> str:
    return f'(t."{name}" IS DISTINCT FROM s."{name}")' if known else f'(s."{name}" IS NOT NULL)'
