"""Staging of a delivery for a table with buckets: Parquet files with a row group per bucket."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts import columns as c
from chronotope.contracts.schemas import EVENTS
from chronotope.contracts.user_buckets import user_buckets
from chronotope.lake.row_conformance import conform_rows, conformed_schema
from chronotope.lake.staged_batch import ENCODED_COLUMNS, unified_schema
from chronotope.lake.store_errors import translate_store_errors

SOURCE_ROW: Final = "source_row"
"""Column of staged files: position of the row in its batch, since buckets reorder the rows."""


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A staged batch.

    Attributes:
        path: Parquet file, sorted by bucket; rows of a bucket are in the order of the source.
        schema: Columns of the batch, without those that staging adds.
        bucket_sizes: Bucket of each row group and its number of rows.
    """

    path: Path
    schema: pa.Schema
    bucket_sizes: tuple[tuple[int, int], ...]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return sum(n_rows for _, n_rows in self.bucket_sizes)


@dataclass(slots=True)
class StagedBuckets:
    """Events of one delivery, staged batch by batch; no rows or ids stay in memory.

    Attributes:
        folder: Folder of the staged files, on the same disk as a local lake.
        n_buckets: Number of buckets of the table.
        schema: Columns of all batches so far.
        files: Staged batches in the order of the source.
    """

    folder: Path
    n_buckets: int
    schema: pa.Schema = EVENTS
    files: list[StagedFile] = field(default_factory=list)

    def add(self, rows: pa.Table) -> None:
        """Stage a batch of events.

        Raises:
            SchemaError: A required column is missing or null, or its type differs between batches.
            StoreError: The batch cannot be written.
        """
        self.append(stage_file(rows, self.folder, self.n_buckets))

    def append(self, staged_file: StagedFile) -> None:
        """Add a batch that ``stage_file`` wrote, perhaps in another process.

        Raises:
            SchemaError: A column has another type than in an earlier batch.
        """
        self.schema = unified_schema(self.schema, staged_file.schema)
        self.files.append(staged_file)

    def extend(self, part: "StagedBuckets") -> None:
        """Add the batches of a part that was staged elsewhere, in the order of the source."""
        for staged_file in part.files:
            self.append(staged_file)

    def n_rows(self) -> int:
        """Number of staged rows, including rows with a repeated id."""
        return sum(staged_file.n_rows for staged_file in self.files)

    def row_buckets(self) -> list[int]:
        """Buckets with staged rows, increasing."""
        return sorted({bucket for file in self.files for bucket, _ in file.bucket_sizes})

    def row_groups(self, bucket: int) -> list[tuple[Path, int]]:
        """File and row group of the rows of a bucket, in the order of the source."""
        return [
            (staged_file.path, group_idx)
            for staged_file in self.files
            for group_idx, (group_bucket, _) in enumerate(staged_file.bucket_sizes)
            if group_bucket == bucket
        ]

    def batches(self) -> Iterator[pa.Table]:
        """The staged batches as they were added, for a table with other buckets."""
        for staged_file in self.files:
            rows = pq.read_table(staged_file.path).sort_by(SOURCE_ROW)
            yield rows.select(staged_file.schema.names)


def stage_file(rows: pa.Table, folder: Path, n_buckets: int) -> StagedFile:
    """Write a batch of events as one Parquet file with a row group per bucket.

    Args:
        rows: The events.
        folder: Folder of the staged files.
        n_buckets: Number of buckets of the table.

    Raises:
        SchemaError: A required column is missing or null.
        StoreError: The batch cannot be written.
    """
    batch_schema = conformed_schema(rows.schema, EVENTS)
    row_buckets = user_buckets(rows.column(c.USER_ID), n_buckets)
    row_order = np.argsort(row_buckets, kind="stable")
    sorted_rows = conform_rows(rows, batch_schema).take(pa.array(row_order))
    sorted_rows = sorted_rows.append_column(SOURCE_ROW, pa.array(row_order.astype(np.int32)))
    present_buckets, bucket_sizes = np.unique(row_buckets, return_counts=True)
    file_path = folder / f"good-{uuid4()}.parquet"
    with translate_store_errors("events"):
        write_row_groups(sorted_rows, bucket_sizes.tolist(), file_path)
    sizes = zip(present_buckets.tolist(), bucket_sizes.tolist(), strict=True)
    return StagedFile(file_path, batch_schema, tuple(sizes))


def write_row_groups(rows: pa.Table, group_sizes: Sequence[int], file_path: Path) -> None:
    """Write consecutive rows as row groups of given sizes.

    Args:
        rows: The rows.
        group_sizes: Number of rows of each row group.
        file_path: File to write.
    """
    with pq.ParquetWriter(file_path, rows.schema, **parquet_options(rows.schema)) as writer:
        start_row = 0
        for n_rows in group_sizes:
            writer.write_table(rows.slice(start_row, n_rows), row_group_size=n_rows)
            start_row += n_rows


def parquet_options(schema: pa.Schema) -> dict[str, object]:
    """Options of a Parquet writer: dictionaries for columns with repeated values.

    Args:
        schema: Schema of the rows.
    """
    encoded_columns = [name for name in schema.names if name in ENCODED_COLUMNS]
    return {"use_dictionary": encoded_columns, "compression": "snappy"}
