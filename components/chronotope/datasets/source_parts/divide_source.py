"""Division of the files of an event log into parts of about one batch each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from chronotope.datasets.files.budget import ByteBudget
from chronotope.datasets.files.parquet_stream import check_parquet_files
from chronotope.datasets.files.part_files import PartFile
from chronotope.datasets.files.source_files import list_source_files, translated_errors
from chronotope.datasets.locations import is_http_url
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.table_spec import Format, TableSpec

PART_BYTES: Final = 64 << 20
"""Size of the text files that are one part together, at least; a larger file is a part alone."""


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A file of a source, or some of its row groups.

    Attributes:
        file: The file.
        row_groups: First row group and the one after the last; None for the whole file.
    """

    file: PartFile
    row_groups: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class SourcePart:
    """Consecutive rows of a source.

    Attributes:
        slices: Files or row groups, in the order of the source.
        files: All files of the source, to look for a column that a file of this part lacks.
        known_columns: Columns that are known to exist in one of them.
        max_bytes: Number of bytes that the source may expand to.
    """

    slices: tuple[FileSlice, ...]
    files: tuple[PartFile, ...]
    known_columns: frozenset[str]
    max_bytes: int


def divide_source(dataset_spec: DatasetSpec, part_rows: int) -> list[SourcePart] | None:
    """Parts of the event log in the order of the source; None if it is read as a whole.

    Parquet files and Delta tables are divided by row groups, CSV by files. Other formats, a single
    text file, databases, downloads and simulations are read from the beginning to the end.

    Args:
        dataset_spec: The dataset.
        part_rows: Number of rows of a part of Parquet files; one row group may have more.

    Raises:
        SourceError: There is no such file, or its metadata is damaged.
        SchemaError: A file has too many columns.
    """
    table_spec = dataset_spec.events
    if table_spec is None or table_spec.format not in (Format.PARQUET, Format.DELTA, Format.CSV):
        return None
    if is_http_url(table_spec.path or ""):
        return None
    part_files, known_columns = list_source_files(table_spec, dataset_spec.data_dir)
    if table_spec.format is Format.CSV:
        if len(part_files) == 1:
            return None
        slices = [[FileSlice(file) for file in files] for files in _file_groups(part_files)]
        max_bytes = table_spec.limits.max_bytes
    else:
        byte_budget, column_names, slices = _row_groups(table_spec, part_files, part_rows)
        known_columns, max_bytes = known_columns | column_names, byte_budget.limit
    # Deletion vectors of other files are not needed to look for their columns.
    files = tuple(replace(part_file, row_mask=None) for part_file in part_files)
    return [
        SourcePart(tuple(source_part), files, known_columns, max_bytes) for source_part in slices
    ]


def _file_groups(part_files: Sequence[PartFile]) -> Iterator[list[PartFile]]:
    """Consecutive files of at least ``PART_BYTES`` together."""
    file_group: list[PartFile] = []
    for part_file in part_files:
        file_group.append(part_file)
        if sum(file.path.stat().st_size for file in file_group) >= PART_BYTES:
            yield file_group
            file_group = []
    if file_group:
        yield file_group


def _row_groups(
    table_spec: TableSpec, part_files: Sequence[PartFile], part_rows: int
) -> tuple[ByteBudget, frozenset[str], list[list[FileSlice]]]:
    """Budget of the files, their needed columns, and row groups of about ``part_rows`` rows."""
    with translated_errors(part_files[0].path, table_spec):
        byte_budget = check_parquet_files([file.path for file in part_files], table_spec)
    parts: list[list[FileSlice]] = []
    column_names, n_waiting = set[str](), part_rows
    for part_file in part_files:
        with translated_errors(part_file.path, table_spec):
            group_rows, names = _group_sizes(part_file.path)
        column_names |= set(table_spec.needed) & names
        for group_idx, n_rows in enumerate(group_rows):
            if n_waiting + n_rows > part_rows:
                parts.append([])
                n_waiting = 0
            n_waiting += n_rows
            _append_group(parts[-1], part_file, group_idx)
    return byte_budget, frozenset(column_names), parts


def _append_group(source_part: list[FileSlice], part_file: PartFile, group_idx: int) -> None:
    """Add a row group to a part; consecutive ones of a file are one slice."""
    if source_part and source_part[-1].file is part_file and source_part[-1].row_groups is not None:
        source_part[-1] = FileSlice(part_file, (source_part[-1].row_groups[0], group_idx + 1))
    else:
        source_part.append(FileSlice(part_file, (group_idx, group_idx + 1)))


def _group_sizes(file_path: Path) -> tuple[list[int], set[str]]:
    """Number of rows of each row group of a checked file, and the names of its columns."""
    with pq.ParquetFile(file_path) as parquet_file:
        metadata = parquet_file.metadata
        sizes = [metadata.row_group(idx).num_rows for idx in range(metadata.num_row_groups)]
        return sizes, set(parquet_file.schema_arrow.names)
