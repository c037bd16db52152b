"""Streaming of CSV and Parquet files, with columns under source names."""

import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pyarrow as pa

from chronotope.contracts.errors import SourceError
from chronotope.datasets.csv_stream import BLOCK_BYTES, stream_csv
from chronotope.datasets.download import downloaded
from chronotope.datasets.locations import is_address, local_path
from chronotope.datasets.parquet_stream import stream_parquet
from chronotope.datasets.spec import Format, TableSpec
from chronotope.runtime.regular_files import require_regular


def locate_table(table_spec: TableSpec, data_dir: Path) -> Path:
    """Location of a table's file or folder.

    Raises:
        SourceError: There is no such file, it is neither a regular file nor a folder, or the
            package is not installed.
        ConfigError: It lies outside the folders that flows may use.
    """
    file_path = local_path(table_spec, data_dir)
    try:
        if not file_path.is_dir() and require_regular(file_path) == 0:
            raise SourceError(
                "The file is empty", received=file_path, way_out="Deliver the file again"
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
            way_out="Give the path of a regular file",
        ) from error
    return file_path


def stream_file(
    table_spec: TableSpec, data_dir: Path, *, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Batches of the needed columns, as read; text columns only, if CSV.

    Raises:
        SourceError: The file is missing, empty, truncated, in another encoding, or it takes
            longer or becomes larger than its limits.
        SchemaError: Columns are missing.
        ConfigError: It lies outside the folders that flows may use.
    """
    with _local(table_spec, data_dir) as file_path, _explained(file_path, table_spec):
        if table_spec.format is Format.CSV:
            yield from stream_csv(table_spec, file_path)
        else:
            yield from stream_parquet(table_spec, file_path, batch_rows)


def _local(table_spec: TableSpec, data_dir: Path) -> AbstractContextManager[Path]:
    """Local file, or a temporary copy of the file at an http URL."""
    if is_address(table_spec.path or ""):
        return downloaded(table_spec.path or "", table_spec.limits)
    return nullcontext(locate_table(table_spec, data_dir))


@contextmanager
def _explained(file_path: Path, table_spec: TableSpec) -> Iterator[None]:
    try:
        yield
    except subprocess.TimeoutExpired as error:
        raise SourceError(
            f"Cannot read {file_path} as {table_spec.format}",
            received=error,
            way_out="Deliver smaller files, or check the disk",
        ) from error
    except (pa.ArrowException, OSError, ValueError, LookupError, MemoryError) as error:
        if "UTF8" in str(error) or _is_wrong_encoding(error):
            raise _wrong_encoding(file_path, table_spec) from error
        raise SourceError(
            f"Cannot read {file_path} as {table_spec.format}",
            received=error,
            way_out=_way_out(error),
        ) from error


def _is_wrong_encoding(error: BaseException) -> bool:
    """Whether an error means a wrong encoding; some Arrow errors are LookupErrors too."""
    is_arrow = isinstance(error, pa.ArrowException)
    return not is_arrow and isinstance(error, UnicodeError | LookupError)


def _way_out(error: BaseException) -> str:
    if "straddling" in str(error):
        return f"A row is longer than {BLOCK_BYTES:,} bytes, as behind a quote that nothing closes"
    return "The file may be cut short or of another format: deliver it again"


def _wrong_encoding(file_path: Path, table_spec: TableSpec) -> SourceError:
    return SourceError(
        f"{file_path} is not text in the configured encoding",
        received=table_spec.encoding,
        way_out="Set encoding in the dataset's YAML, for example to latin-1 or utf-16",
    )
