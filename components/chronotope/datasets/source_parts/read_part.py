"""Reading of one part of a source, as ``read_events`` reads the whole."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from chronotope.datasets.files.budget import ByteBudget
from chronotope.datasets.files.csv_stream import stream_csv
from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.files.parquet_stream import stream_parquet
from chronotope.datasets.files.part_files import PartFile
from chronotope.datasets.files.source_files import PartReader, SourceColumns, translated_errors
from chronotope.datasets.readers import contract_batches
from chronotope.datasets.source_parts.divide_source import FileSlice, SourcePart
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.table_spec import Format, TableSpec


@dataclass(slots=True)
class PartReading:
    """Account of the reading of a part.

    Attributes:
        report: Lines of text files by what became of them.
        n_bytes: Number of bytes that Parquet files expanded to.
    """

    report: SourceReport = field(default_factory=SourceReport)
    n_bytes: int = 0


def read_part(
    dataset_spec: DatasetSpec, part: SourcePart, batch_rows: int, reading: PartReading
) -> Iterator[pa.Table]:
    """Read a part of the event log in batches with contract column names.

    Args:
        dataset_spec: The dataset.
        part: A part of ``divide_source``.
        batch_rows: Number of rows of a batch.
        reading: Account of the reading, which is updated.

    Raises:
        SourceError: A file is damaged, or exceeds its limits.
        SchemaError: Columns are missing.
    """
    table_spec = dataset_spec.events
    if table_spec is None:
        return
    reading.report.hides_texts = dataset_spec.privacy.hides_texts
    batches = _part_batches(table_spec, part, batch_rows, reading)
    yield from contract_batches(table_spec, dataset_spec, batches, batch_rows)


def _part_batches(
    table_spec: TableSpec, part: SourcePart, batch_rows: int, reading: PartReading
) -> Iterator[pa.RecordBatch]:
    byte_budget = ByteBudget(part.max_bytes, part.max_bytes)
    for file_slice in part.slices:
        reader = _slice_reader(file_slice, byte_budget, batch_rows)
        columns = SourceColumns(table_spec, part.files, reader, part.known_columns)
        with translated_errors(file_slice.file.path, table_spec):
            yield from columns.stream(file_slice.file, reading.report)
        reading.n_bytes = byte_budget.n_spent


def _slice_reader(file_slice: FileSlice, byte_budget: ByteBudget, batch_rows: int) -> PartReader:
    """Function that reads the slice of its file, and the beginning of other files."""

    def read(
        part_spec: TableSpec, part_file: PartFile, report: SourceReport | None
    ) -> Iterator[pa.RecordBatch]:
        if part_spec.format is Format.CSV:
            return stream_csv(part_spec, part_file.path, report)
        groups = file_slice.row_groups if part_file is file_slice.file else None
        return stream_parquet(
            part_spec,
            part_file.path,
            byte_budget,
            batch_rows,
            part_file.row_mask,
            None if groups is None else range(*groups),
        )

    return read
