"""Streaming of the files of a source; columns keep the names of the source."""

import logging
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from chronotope.contracts.errors import SourceError
from chronotope.datasets.columns import MissingColumnsError
from chronotope.datasets.files.csv_stream import stream_csv
from chronotope.datasets.files.download import downloaded_file
from chronotope.datasets.files.json_lines import stream_json
from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.files.parquet_stream import check_parquet_files, stream_parquet
from chronotope.datasets.files.part_columns import (
    complete_batch,
    required_columns,
    without_columns,
)
from chronotope.datasets.files.part_files import PartFile, list_part_files
from chronotope.datasets.files.table_folders import (
    TableFormat,
    table_folder_error,
    table_format_of,
)
from chronotope.datasets.locations import is_http_url, local_path
from chronotope.datasets.table_spec import Format, TableSpec

PartReader: TypeAlias = Callable[
    [TableSpec, PartFile, SourceReport | None], Iterator[pa.RecordBatch]
]

_LOG = logging.getLogger(__name__)


def stream_file(
    table_spec: TableSpec,
    data_dir: Path,
    *,
    batch_rows: int,
    source_report: SourceReport | None = None,
) -> Iterator[pa.RecordBatch]:
    """Read the needed columns of a source's files in batches, one file after the other.

    Each file is read in its own types; CSV and JSON give text. A column that a file lacks is the
    value in the name of its partition folder, or null if it is optional and another file has it.

    Args:
        table_spec: Path, format, columns and limits.
        data_dir: Folder that the path is relative to.
        batch_rows: Maximum number of rows of a Parquet batch.
        source_report: Report that gets the counts of lines and the refused lines of text files;
            None if nobody stores them, so that the first refused line is an error.

    Raises:
        SourceError: A file is missing, empty, truncated or in another encoding, or exceeds
            its limits on time or size.
        SchemaError: Columns are missing.
        ConfigError: A path lies outside the folders that flows may use.
    """
    with _local_copy(table_spec) as downloaded_path:
        if downloaded_path is not None:
            part_files, known_columns = [PartFile(downloaded_path)], frozenset[str]()
        else:
            part_files, known_columns = list_source_files(table_spec, data_dir)
        part_reader = _part_reader(table_spec, part_files, batch_rows)
        source_columns = SourceColumns(table_spec, part_files, part_reader, known_columns)
        for part_file in part_files:
            with translated_errors(part_file.path, table_spec):
                yield from source_columns.stream(part_file, source_report)
        source_columns.require_known()


def list_source_files(
    table_spec: TableSpec, data_dir: Path
) -> tuple[list[PartFile], frozenset[str]]:
    """The source's files, and the columns that are known to exist in one of them.

    Args:
        table_spec: Path and format.
        data_dir: Folder that the path is relative to.

    Raises:
        SourceError: There is no such file or table.
        ConfigError: A path lies outside the folders that flows may use.
    """
    source_path = local_path(table_spec, data_dir)
    table_format = table_format_of(source_path)
    if table_format is TableFormat.DELTA and table_spec.format in (Format.DELTA, Format.PARQUET):
        from chronotope.datasets.files.delta_tables import list_delta_files  # slow to import

        if table_spec.format is Format.PARQUET:
            _LOG.warning("%s is a Delta table and is read as one, as by format: delta", source_path)
        delta_files = list_delta_files(source_path, table_spec.version)
        return delta_files.files, delta_files.columns
    if table_format is not None:
        raise table_folder_error(source_path, table_format)
    if table_spec.format is Format.DELTA:
        raise SourceError(
            "The path is not a Delta table",
            received=f"{source_path}, without a folder _delta_log",
            way_out="Set path to the folder of the table, or correct format",
        )
    return list_part_files(table_spec, data_dir), frozenset()


def _part_reader(
    table_spec: TableSpec, part_files: Sequence[PartFile], batch_rows: int
) -> PartReader:
    """Function that reads one of the files."""
    if table_spec.format is Format.CSV:
        return lambda part_spec, part_file, report: stream_csv(part_spec, part_file.path, report)
    if table_spec.format is Format.JSON:
        return lambda part_spec, part_file, report: stream_json(part_spec, part_file.path, report)
    if table_spec.format is Format.EXCEL:
        from chronotope.datasets.files.spreadsheets import stream_workbook

        return lambda part_spec, part_file, _: stream_workbook(
            part_spec, part_file.path, batch_rows
        )
    with translated_errors(part_files[0].path, table_spec):
        file_paths = [part_file.path for part_file in part_files]
        byte_budget = check_parquet_files(file_paths, table_spec)
    return lambda part_spec, part_file, _: stream_parquet(
        part_spec, part_file.path, byte_budget, batch_rows, part_file.row_mask
    )


class SourceColumns:
    """Union of the columns of a source's files."""

    def __init__(
        self,
        table_spec: TableSpec,
        part_files: Sequence[PartFile],
        part_reader: PartReader,
        known_columns: frozenset[str],
    ) -> None:
        """Set the files.

        Args:
            table_spec: Needed columns.
            part_files: Files of the source, to look for a column that one of them lacks.
            part_reader: Function that reads one of them.
            known_columns: Columns that are known to exist in one of them.
        """
        self._spec, self._part_files, self._read = table_spec, part_files, part_reader
        self._known_columns = set(known_columns)
        self._next_probed = 0
        self._last_error: MissingColumnsError | None = None

    def stream(
        self, part_file: PartFile, source_report: SourceReport | None
    ) -> Iterator[pa.RecordBatch]:
        """Batches of a file with all needed columns.

        Raises:
            MissingColumnsError: The file lacks a column that is required, or that no file has.
        """
        folder_columns = frozenset[str]()
        if self._spec.format is Format.JSON:  # has no header to say whether they are in the file
            folder_columns = frozenset(part_file.partition_values) & set(self._spec.needed)
        batches = self._stream_without(folder_columns, part_file, source_report)
        try:
            first_batch = next(batches, None)
        except MissingColumnsError as error:
            self._require_optional(error, part_file)
            yield from self._stream_without(error.column_names, part_file, source_report)
            return
        absent_columns = frozenset[str]()
        if first_batch is not None:
            yield first_batch
            try:
                yield from batches
            except MissingColumnsError as error:  # formats without a header: known at the end
                absent_columns, self._last_error = error.column_names, error
                if required_columns(self._spec, absent_columns):
                    raise
        self._known_columns.update(set(self._spec.needed) - absent_columns)

    def _stream_without(
        self,
        absent_columns: frozenset[str],
        part_file: PartFile,
        source_report: SourceReport | None,
    ) -> Iterator[pa.RecordBatch]:
        """Batches of a file of which some columns are not read, but completed."""
        part_spec = without_columns(self._spec, absent_columns) if absent_columns else self._spec
        for batch in self._read(part_spec, part_file, source_report):
            yield complete_batch(self._spec, part_file, batch) if absent_columns else batch

    def require_known(self) -> None:
        """Check that each needed column was in one of the files that have been read.

        Raises:
            MissingColumnsError: No file has the column.
        """
        if self._last_error and self._last_error.column_names - self._known_columns:
            raise self._last_error

    def _require_optional(self, error: MissingColumnsError, part_file: PartFile) -> None:
        missing_columns = error.column_names - set(part_file.partition_values)
        if required_columns(self._spec, missing_columns):
            raise error
        while missing_columns - self._known_columns and self._next_probed < len(self._part_files):
            self._probe(self._part_files[self._next_probed])
            self._next_probed += 1
        if missing_columns - self._known_columns:
            raise error

    def _probe(self, part_file: PartFile) -> None:
        """Note which of the needed columns a file has."""
        with translated_errors(part_file.path, self._spec):
            absent_columns = frozenset[str]()
            try:
                next(self._read(self._spec, part_file, SourceReport()), None)
            except MissingColumnsError as error:
                absent_columns = error.column_names
        self._known_columns.update(set(self._spec.needed) - absent_columns)


def _local_copy(table_spec: TableSpec) -> AbstractContextManager[Path | None]:
    """Temporary copy of the file at an http URL; None for a local path."""
    if is_http_url(table_spec.path or ""):
        return downloaded_file(table_spec.path or "", table_spec.limits)
    return nullcontext()


@contextmanager
def translated_errors(file_path: Path, table_spec: TableSpec) -> Iterator[None]:
    """Raise errors of Arrow and of the operating system as ``SourceError``.

    Args:
        file_path: The file that is read.
        table_spec: Its format and encoding.
    """
    try:
        yield
    except subprocess.TimeoutExpired as error:
        raise SourceError(
            f"Cannot read {file_path} as {table_spec.format}",
            received=error,
            way_out="Split the file into smaller ones, or check the disk",
        ) from error
    except (pa.ArrowException, OSError, ValueError, LookupError, MemoryError) as error:
        if "UTF8" in str(error) or _is_wrong_encoding(error):
            raise _wrong_encoding(file_path, table_spec) from error
        raise SourceError(
            f"Cannot read {file_path} as {table_spec.format}",
            received=error,
            way_out="The file may be cut short or in another format: export it again or correct "
            "format",
        ) from error


def _is_wrong_encoding(error: BaseException) -> bool:
    """Whether an error means a wrong encoding; Arrow's own LookupErrors do not."""
    is_arrow = isinstance(error, pa.ArrowException)
    return not is_arrow and isinstance(error, UnicodeError | LookupError)


def _wrong_encoding(file_path: Path, table_spec: TableSpec) -> SourceError:
    return SourceError(
        f"{file_path} is not text in the configured encoding",
        received=table_spec.encoding,
        way_out="Set encoding in the dataset's YAML, for example to latin-1 or utf-16",
    )
