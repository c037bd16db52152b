"""Task of one bucket: the staged rows whose ids are new to it, written as one Parquet file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from chronotope.contracts import columns as c
from chronotope.lake.bucketed.staged_buckets import SOURCE_ROW, parquet_options
from chronotope.lake.bucketed.table_files import open_folder
from chronotope.lake.repeated_rows import RepeatedRows, compare_repeated_rows, rows_by_chunk
from chronotope.lake.row_conformance import (
    conform_rows,
    first_occurrence_mask,
    is_in_sorted,
    key_hashes,
    repeated_positions,
)
from chronotope.lake.store_errors import translate_store_errors
from chronotope.runtime.store_urls import Location

_GROUP_ROWS: Final = 250_000
"""Rows of a row group of a written file, at least; staged row groups are as small as a bucket."""

_ID_BATCH_ROWS: Final = 500_000
"""Rows of the table whose ids are read at a time."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BucketTask:
    """Staged rows of a bucket and where the new ones go; small, since it travels to a worker.

    Attributes:
        bucket: The bucket.
        row_groups: Staged file and row group of its rows, in the order of the source.
        schema: Columns of the written file.
        table: Folder or address of the table.
        table_paths: Files of the bucket in the table, below its folder.
        target: Folder or address that the file is written to.
        target_path: Path of the file below it.
    """

    bucket: int
    row_groups: tuple[tuple[Path, int], ...]
    schema: pa.Schema
    table: Location
    table_paths: tuple[str, ...]
    target: Location
    target_path: str


@dataclass(frozen=True, slots=True)
class BucketPart:
    """Result of a bucket.

    Attributes:
        bucket: The bucket.
        path: Path of the written file below the task's target; None if no row is new.
        n_bytes: Size of the file.
        n_rows: Number of its rows.
        repeated: Rows of the delivery that repeat an id of it.
        example_row: Name of the staged file of the example, and its position in the batch; None
            without one.
    """

    bucket: int
    path: str | None
    n_bytes: int
    n_rows: int
    repeated: RepeatedRows
    example_row: tuple[str, int] | None = None


def write_bucket(task: BucketTask) -> BucketPart:
    """Write the staged rows of a bucket whose id is in no earlier row and not in the table.

    Memory is 8 bytes a row of the delivery and of one file of the bucket, the ids that the table
    has already, and one row group of the result.

    Args:
        task: The bucket.

    Raises:
        StoreError: A file cannot be read or written.
    """
    staged_rows = BucketRows(task.row_groups, task.schema)
    with translate_store_errors("events"):
        is_new = staged_rows.first_row_mask()
        is_new &= ~_known_rows(staged_rows, open_folder(task.table), task.table_paths)
        repeated, example_position = compare_repeated_rows(staged_rows)
        example_row = None if example_position is None else staged_rows.source_row(example_position)
        n_rows = int(is_new.sum())
        if not n_rows:
            return BucketPart(task.bucket, None, 0, 0, repeated, example_row)
        target = open_folder(task.target)
        n_bytes = _write_new_rows(staged_rows, is_new, target, task.target_path)
    return BucketPart(task.bucket, task.target_path, n_bytes, n_rows, repeated, example_row)


class BucketRows:
    """Staged rows of one bucket, read by row group; 8 bytes a row stay in memory.

    Attributes:
        schema: Columns of the rows.
    """

    def __init__(self, row_groups: tuple[tuple[Path, int], ...], schema: pa.Schema) -> None:
        """Read the ids.

        Args:
            row_groups: File and row group, in the order of the source.
            schema: Columns of the rows.
        """
        self.row_groups, self.schema = row_groups, schema
        self._ids = [
            key_hashes(self.read_chunk(chunk_idx, [c.EVENT_ID]).column(0))
            for chunk_idx in range(len(row_groups))
        ]
        self._all_ids = np.concatenate([np.empty(0, np.uint64), *self._ids])
        self._repeated = repeated_positions(self._all_ids)

    def read_chunk(self, chunk_idx: int, columns: list[str] | None = None) -> pa.Table:
        """Rows of a row group, with ``SOURCE_ROW``, or some of their columns."""
        file_path, group_idx = self.row_groups[chunk_idx]
        with pq.ParquetFile(file_path) as parquet_file:
            return parquet_file.read_row_group(group_idx, columns=columns)

    def chunk_sizes(self) -> list[int]:
        """Number of rows of each row group."""
        return [len(chunk_ids) for chunk_ids in self._ids]

    def id_hashes(self) -> npt.NDArray[np.uint64]:
        """64-bit hash of the id of each row, shape (n_rows,)."""
        return self._all_ids

    def repeated_positions(self) -> npt.NDArray[np.int64]:
        """Positions of the rows whose id hash occurs more than once, increasing."""
        return self._repeated

    def event_ids(self, row_positions: npt.NDArray[np.int64]) -> pa.ChunkedArray:
        """Ids of the rows at increasing positions."""
        id_column = pa.chunked_array([], pa.string())
        for chunk_idx, chunk_rows in rows_by_chunk(self, row_positions):
            chunk_ids = self.read_chunk(chunk_idx, [c.EVENT_ID]).column(0)
            taken_ids = chunk_ids.take(pa.array(chunk_rows))
            id_column = pa.chunked_array([*id_column.chunks, *taken_ids.chunks], pa.string())
        return id_column

    def first_row_mask(self) -> Mask:
        """Mask of the first row of each id, shape (n_rows,)."""
        is_first = np.ones(len(self._all_ids), np.bool_)
        if len(self._repeated):
            repeated_first = first_occurrence_mask(self.event_ids(self._repeated))
            if repeated_first is not None:
                is_first[self._repeated] = repeated_first
        return is_first

    def source_row(self, position: int) -> tuple[str, int]:
        """Name of the staged file of a row, and its position in the batch."""
        ((chunk_idx, chunk_rows),) = rows_by_chunk(self, np.array([position]))
        source_rows = self.read_chunk(chunk_idx, [SOURCE_ROW]).column(0)
        return self.row_groups[chunk_idx][0].name, int(source_rows[int(chunk_rows[0])].as_py())


def _known_rows(
    staged_rows: BucketRows, table: pafs.FileSystem, table_paths: tuple[str, ...]
) -> Mask:
    """Mask of the rows whose id is in one of some files of the table, shape (n_rows,)."""
    id_hashes = staged_rows.id_hashes()
    sorted_hashes = np.sort(id_hashes)
    known_ids: list[pa.Array] = []
    for table_path in table_paths:
        with table.open_input_file(table_path) as file, pq.ParquetFile(file) as parquet_file:
            for batch in parquet_file.iter_batches(_ID_BATCH_ROWS, columns=[c.EVENT_ID]):
                batch_ids = batch.column(0).cast(pa.string())
                batch_hashes = key_hashes(pa.chunked_array([batch_ids]))
                is_candidate = is_in_sorted(batch_hashes, sorted_hashes)
                known_ids.append(batch_ids.filter(pa.array(is_candidate)))
    is_known = np.zeros(len(id_hashes), np.bool_)
    candidate_ids = pa.chunked_array(known_ids, pa.string())
    if len(candidate_ids):  # two ids may share a hash, so that candidates are compared as texts
        candidate_hashes = pa.array(key_hashes(candidate_ids))
        row_positions = np.flatnonzero(pc.is_in(pa.array(id_hashes), value_set=candidate_hashes))
        is_known[row_positions] = pc.is_in(
            staged_rows.event_ids(row_positions), value_set=candidate_ids.combine_chunks()
        ).to_numpy()
    return is_known


def _write_new_rows(
    staged_rows: BucketRows, is_new: Mask, target: pafs.FileSystem, target_path: str
) -> int:
    """Write the rows of a mask to a file; returns its size in bytes."""
    with (
        target.open_output_stream(target_path) as stream,
        pq.ParquetWriter(
            stream, staged_rows.schema, **parquet_options(staged_rows.schema)
        ) as writer,
    ):
        for row_group in _large_tables(_new_tables(staged_rows, is_new)):
            writer.write_table(row_group, row_group_size=len(row_group))
    return int(target.get_file_info(target_path).size)


def _new_tables(staged_rows: BucketRows, is_new: Mask) -> Iterator[pa.Table]:
    start_row = 0
    for chunk_idx, n_rows in enumerate(staged_rows.chunk_sizes()):
        chunk_mask = is_new[start_row : start_row + n_rows]
        start_row += n_rows
        if chunk_mask.any():
            chunk_rows = staged_rows.read_chunk(chunk_idx).drop_columns(SOURCE_ROW)
            yield conform_rows(chunk_rows.filter(pa.array(chunk_mask)), staged_rows.schema)


def _large_tables(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of at least ``_GROUP_ROWS`` rows; the last one may be smaller."""
    waiting_rows: list[pa.Table] = []
    for table in tables:
        waiting_rows.append(table)
        if sum(map(len, waiting_rows)) >= _GROUP_ROWS:
            yield pa.concat_tables(waiting_rows)
            waiting_rows = []
    if waiting_rows:
        yield pa.concat_tables(waiting_rows)
