"""Streaming of CSV, JSON and Parquet files; columns keep the names of the source."""

import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pyarrow as pa

from chronotope.contracts.errors import SourceError
from chronotope.datasets.files.csv_stream import stream_csv
from chronotope.datasets.files.download import downloaded_file
from chronotope.datasets.files.json_lines import stream_json
from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.files.parquet_stream import stream_parquet
from chronotope.datasets.locations import is_http_url, local_path
from chronotope.datasets.table_spec import Format, TableSpec
from chronotope.runtime.regular_files import require_regular


def locate_table(table_spec: TableSpec, data_dir: Path) -> Path:
    """Path of a table's existing file or folder.

    Raises:
        SourceError: The file does not exist, is empty, or is neither a regular file nor a
            folder; or the package is not installed.
        ConfigError: The path lies outside the folders that flows may use.
    """
    file_path = local_path(table_spec, data_dir)
    try:
        if not file_path.is_dir() and require_regular(file_path) == 0:
            raise SourceError(
                "The file is empty", received=file_path, way_out="Export the file again"
            )
    except FileNotFoundError:
        raise SourceError(
            "No such file",
            received=file_path,
            way_out="Correct data_dir or path in the dataset's YAML",
        ) from None
    except OSError as error:
        raise SourceError(
            "The file cannot be read",
            received=f"{file_path}: {error.strerror}",
            way_out="Set path to a regular file that this process may read",
        ) from error
    return file_path


def stream_file(
    table_spec: TableSpec,
    data_dir: Path,
    *,
    batch_rows: int,
    source_report: SourceReport | None = None,
) -> Iterator[pa.RecordBatch]:
    """Read the needed columns of a file in batches, in its types; CSV and JSON give text.

    Args:
        table_spec: Path, format, columns and limits.
        data_dir: Folder that the path is relative to.
        batch_rows: Maximum number of rows of a Parquet batch.
        source_report: Report that gets the counts of lines and the refused lines of text files;
            None if nobody stores them, so that the first refused line is an error.

    Raises:
        SourceError: The file is missing, empty, truncated or in another encoding, or exceeds
            its limits on time or size.
        SchemaError: Columns are missing.
        ConfigError: The path lies outside the folders that flows may use.
    """
    with (
        _local_file(table_spec, data_dir) as file_path,
        _translated_errors(file_path, table_spec),
    ):
        if table_spec.format is Format.CSV:
            yield from stream_csv(table_spec, file_path, source_report)
        elif table_spec.format is Format.JSON:
            yield from stream_json(table_spec, file_path, source_report)
        else:
            yield from stream_parquet(table_spec, file_path, batch_rows)


def _local_file(table_spec: TableSpec, data_dir: Path) -> AbstractContextManager[Path]:
    """Local file, or a temporary copy of the file at an http URL."""
    if is_http_url(table_spec.path or ""):
        return downloaded_file(table_spec.path or "", table_spec.limits)
    return nullcontext(locate_table(table_spec, data_dir))


@contextmanager
def _translated_errors(file_path: Path, table_spec: TableSpec) -> Iterator[None]:
    """Raise errors of Arrow and of the operating system as ``SourceError``."""
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
