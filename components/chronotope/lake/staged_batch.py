"""Staging of a delivery of events as Parquet files before it is committed to the table.

In a local lake the staged files become files of the table. For a lake in an object store they
are staged on this machine and written from there, since an object store cannot rename files.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import CommitProperties, PostCommitHookProperties, Schema
from deltalake.transaction import AddAction, create_table_with_add_actions

from chronotope.contracts import columns as c
from chronotope.contracts.errors import SchemaError
from chronotope.contracts.schemas import EVENTS
from chronotope.lake.row_conformance import (
    conform_rows,
    conformed_schema,
    first_occurrence_mask,
    key_hashes,
    repeated_positions,
)
from chronotope.lake.store_errors import translate_store_errors
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.store_urls import Location
from chronotope.runtime.temp_dirs import temporary_folder

Mask = npt.NDArray[np.bool_]

FIRST: Final = CommitProperties(max_commit_retries=0)
"""Commit properties of the commit that creates a table: no retry. After a conflict with another
process, a retry would append its rows as the second version without a check for equal keys."""

ALL_VERSIONS: Final = {"delta.enableExpiredLogCleanup": "false"}
"""Configuration of a new table that keeps all versions, since trainings refer to them. By default
Delta removes versions older than 30 days with every hundredth commit."""

NO_CLEANUP: Final = PostCommitHookProperties(cleanup_expired_logs=False)
"""Commit option with the same effect, for tables created without ``ALL_VERSIONS``."""

_PREFIX: Final = ".staging-"
_PREFIX_IN_TMP: Final = "chronotope-staging-"
ENCODED_COLUMNS: Final = (
    c.USER_ID,
    c.ITEM_ID,
    c.EVENT_TYPE,
    c.UTC_OFFSET_MIN,
    c.PLACE_ID,
    c.SESSION_ID,
)
"""Columns with repeated values, written with dictionary encoding; it only costs time on others."""


@dataclass(slots=True)
class StagedBatch:
    """Events of one delivery to a table without buckets; memory use is 8 bytes per row.

    Attributes:
        folder: Folder of the staged files, on the same disk as a local lake.
        schema: Columns of all batches so far.
        paths: Staged Parquet files, one per batch.
        n_buckets: Number of buckets of the table, always 1.
    """

    folder: Path
    schema: pa.Schema = EVENTS
    paths: list[Path] = field(default_factory=list)
    n_buckets: int = 1
    _ids: list[npt.NDArray[np.uint64]] = field(default_factory=list)
    _repeated: npt.NDArray[np.int64] | None = None

    def add(self, rows: pa.Table) -> None:
        """Stage a batch of events.

        Raises:
            SchemaError: A required column is missing or null, or its type differs between batches.
            StoreError: The batch cannot be written.
        """
        batch_schema = conformed_schema(rows.schema, EVENTS)
        self.schema = unified_schema(self.schema, batch_schema)
        conformed_rows = conform_rows(rows, batch_schema)
        self._ids.append(key_hashes(conformed_rows.column(c.EVENT_ID)))
        self._repeated = None
        file_path = self.folder / f"good-{uuid4()}.parquet"
        with translate_store_errors("events"):
            write_rows(conformed_rows, file_path)
        self.paths.append(file_path)

    def extend(self, part: "StagedBatch") -> None:
        """Add the batches of a part that was staged elsewhere, in the order of the source.

        Raises:
            SchemaError: A column has another type than in an earlier batch.
        """
        self.schema = unified_schema(self.schema, part.schema)
        self.paths += part.paths
        self._ids += part._ids
        self._repeated = None

    def dataset(self) -> pads.Dataset:
        """The staged rows as a dataset that can be scanned without loading it."""
        return pads.dataset([str(file_path) for file_path in self.paths], schema=self.schema)

    def n_rows(self) -> int:
        """Number of staged rows, including rows with a repeated id."""
        return sum(self.chunk_sizes())

    def chunk_sizes(self) -> list[int]:
        """Number of staged rows of each file."""
        return [len(file_ids) for file_ids in self._ids]

    def read_chunk(self, chunk_idx: int) -> pa.Table:
        """The staged rows of a file."""
        return pq.read_table(self.paths[chunk_idx])

    def batches(self) -> Iterator[pa.Table]:
        """The staged batches as they were added, for a table with buckets."""
        return map(pq.read_table, self.paths)

    def id_hashes(self) -> npt.NDArray[np.uint64]:
        """64-bit hash of the id of each staged row, shape (n_rows,)."""
        return np.concatenate([np.empty(0, np.uint64), *self._ids])

    def repeated_positions(self) -> npt.NDArray[np.int64]:
        """Positions of the rows whose id hash occurs more than once, increasing."""
        if self._repeated is None:
            self._repeated = repeated_positions(self.id_hashes())
        return self._repeated

    def first_row_mask(self) -> Mask | None:
        """Mask of the first row of each id over all files; None if every id is unique."""
        repeated_rows = self.repeated_positions()
        if not len(repeated_rows):
            return None
        event_ids = self.dataset().take(pa.array(repeated_rows), columns=[c.EVENT_ID]).column(0)
        is_first = first_occurrence_mask(event_ids)
        keep_mask = np.ones(self.n_rows(), dtype=np.bool_)
        if is_first is not None:
            keep_mask[repeated_rows] = is_first
        return keep_mask

    def drop_duplicates(self) -> int:
        """Remove rows with a repeated id from the files; returns the number of remaining rows."""
        keep_mask, start_row = self.first_row_mask(), 0
        if keep_mask is None:
            return self.n_rows()
        for file_path, file_ids in zip(self.paths, self._ids, strict=True):
            file_mask = keep_mask[start_row : start_row + len(file_ids)]
            start_row += len(file_ids)
            if not file_mask.all():
                write_rows(pq.read_table(file_path).filter(pa.array(file_mask)), file_path)
        return int(keep_mask.sum())


def unified_schema(known_schema: pa.Schema, batch_schema: pa.Schema) -> pa.Schema:
    """Columns of a delivery after one more batch.

    Args:
        known_schema: Columns of the batches so far.
        batch_schema: Columns of the batch.

    Raises:
        SchemaError: A column has different types.
    """
    try:
        return pa.unify_schemas([known_schema, batch_schema])
    except pa.ArrowTypeError as error:
        raise SchemaError(
            "A column has different types in one delivery",
            received=error,
            way_out="Map the column to one type in the dataset's YAML",
        ) from error


def write_rows(table: pa.Table, file_path: Path) -> None:
    """Write a Parquet file with dictionary encoding for columns with repeated values."""
    dictionary_columns = [
        column_name for column_name in table.column_names if column_name in ENCODED_COLUMNS
    ]
    pq.write_table(table, file_path, use_dictionary=dictionary_columns, compression="snappy")


def commit_first_version(delivery: StagedBatch, table_dir: Path) -> None:
    """Create a table from the staged files in one commit; the files are moved, not copied."""
    private_folder(table_dir)
    moved_files: list[Path] = []
    add_actions: list[AddAction] = []
    try:
        for staged_file in delivery.paths:
            target_path = table_dir / f"part-{len(moved_files):05d}-{uuid4()}.snappy.parquet"
            moved_files.append(staged_file.rename(target_path))
            add_actions.append(_added(target_path))
        delta_schema = Schema.from_arrow(delivery.schema)
        create_table_with_add_actions(
            str(table_dir),
            delta_schema,
            add_actions,
            mode="error",
            configuration=ALL_VERSIONS,
            commit_properties=FIRST,
        )
    except BaseException:
        for moved_file in moved_files:
            moved_file.unlink(missing_ok=True)
        raise


def _added(file_path: Path) -> AddAction:
    n_rows = pq.read_metadata(file_path).num_rows
    return AddAction(
        path=file_path.name,
        size=file_path.stat().st_size,
        partition_values={},
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": n_rows}),
    )


@contextmanager
def staging_folder(lake_root: Location, shared_dir: Path | None = None) -> Iterator[Path]:
    """Staging folder of one delivery; folders of killed processes are removed first.

    Args:
        lake_root: The lake; the folder is created in it, if it is on a disk.
        shared_dir: Folder in which it is created otherwise; None for ``TMPDIR``.
    """
    dir_prefix = _PREFIX if isinstance(lake_root, Path) else _PREFIX_IN_TMP
    parent_dir = shared_dir or Path(tempfile.gettempdir())
    if isinstance(lake_root, Path):
        parent_dir = lake_root
    exit_stack = ExitStack()
    with translate_store_errors("events"):
        staging_dir = exit_stack.enter_context(temporary_folder(parent_dir, dir_prefix))
    with exit_stack:
        yield staging_dir.resolve()


def remove_left_staging(lake_root: Location, shared_dir: Path) -> int:
    """Remove what killed deliveries left in staging folders; returns the number of folders.

    Args:
        lake_root: The lake.
        shared_dir: Folder in which workers share the staged rows of a lake in an object store.

    Raises:
        StoreError: A staging folder cannot be used.
    """
    is_local, n_removed = isinstance(lake_root, Path), 0
    parent_dirs = (
        (lake_root,) if isinstance(lake_root, Path) else (Path(tempfile.gettempdir()), shared_dir)
    )
    pattern = f"{_PREFIX if is_local else _PREFIX_IN_TMP}*"
    for parent_dir in parent_dirs:
        left_dirs = set(parent_dir.glob(pattern))
        if left_dirs:
            with staging_folder(lake_root, parent_dir):
                n_removed += len(left_dirs - set(parent_dir.glob(pattern)))
    return n_removed
