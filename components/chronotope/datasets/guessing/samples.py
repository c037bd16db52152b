"""Bounded samples of log files: the first rows of a Parquet, JSON or text file."""

import bz2
import json
import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts.errors import SourceError
from chronotope.datasets.guessing.dialects import TextDialect, guess_dialect
from chronotope.datasets.guessing.encodings import EncodingGuess, guess_encoding
from chronotope.runtime.allowed_paths import require_allowed_path
from chronotope.runtime.regular_files import open_regular

SAMPLE_BYTES: Final = 1 << 20
"""Number of bytes of a text file that are looked at, after decompression."""

SAMPLE_ROWS: Final = 5_000
"""Maximum number of rows that are looked at."""

_CHUNK_BYTES: Final = 1 << 12
_GZIP: Final = b"\x1f\x8b"
_PARQUET: Final = b"PAR1"
_UNREADABLE: Final = (b"<!doctype html", b"<html", b"%pdf", b"\x7felf")


@dataclass(frozen=True, slots=True)
class LogSample:
    """First rows of a log file.

    Attributes:
        format: ``csv``, ``json`` or ``parquet``.
        columns: Texts by column name; None where a value is missing. Parquet columns that are
            no text are written as text, except for those in ``arrow_types``.
        arrow_types: Arrow type of each column of a Parquet file.
        dialect: Dialect of a CSV file.
        encoding: Encoding of a text file.
        doubts: What the format was not sure of.
    """

    format: str
    columns: dict[str, list[str | None]]
    arrow_types: dict[str, pa.DataType] = field(default_factory=dict)
    dialect: TextDialect | None = None
    encoding: EncodingGuess | None = None
    doubts: tuple[str, ...] = ()


def read_sample(file_path: Path) -> LogSample:
    """Read the first rows of a file or of the first file of a folder.

    Raises:
        SourceError: The file is missing, empty or no log.
    """
    allowed_path = require_allowed_path(file_path)
    log_file = _first_file(allowed_path)
    try:
        with open_regular(log_file) as sample_file:
            head = _decompressed_head(sample_file, log_file)
            if head[:4] == _PARQUET:
                sample_file.seek(0)
                return _of_folder(_parquet_sample(sample_file), allowed_path, log_file)
    except (OSError, EOFError, ValueError, pa.ArrowException, lzma.LZMAError, zlib.error) as error:
        raise SourceError(
            "The file cannot be read", received=f"{log_file}: {error}", way_out="Export it again"
        ) from error
    if not head.strip():
        raise SourceError("The file is empty", received=log_file, way_out="Export it again")
    if head[:512].lstrip().lower().startswith(_UNREADABLE):
        raise SourceError(
            "The file is no log: it is a web page or another document",
            received=log_file,
            way_out="Download or export the log again as CSV, JSON Lines or Parquet",
        )
    return _of_folder(_text_sample(head), allowed_path, log_file)


def _of_folder(sample: LogSample, path: Path, log_file: Path) -> LogSample:
    """The sample with the format of a folder and the columns that its folder names hold."""
    if (path / "_delta_log").is_dir():
        return replace(sample, format="delta")
    partitions = [
        part.partition("=") for part in log_file.relative_to(path).parts[:-1] if "=" in part
    ]
    n_rows = max(map(len, sample.columns.values()), default=0)
    columns: dict[str, list[str | None]] = {name: [value] * n_rows for name, _, value in partitions}
    return replace(sample, columns={**columns, **sample.columns})


def _first_file(path: Path) -> Path:
    if not path.exists():
        raise SourceError("No such file", received=path, way_out="Pass the path of the log file")
    if not path.is_dir():
        return path
    files = sorted(
        archive_entry
        for archive_entry in path.rglob("*")
        if archive_entry.is_file() and not _is_hidden(archive_entry.relative_to(path))
    )
    if not files:
        raise SourceError("The folder has no files", received=path, way_out="Pass a log file")
    usual_suffix = Counter(archive_entry.suffix for archive_entry in files).most_common(1)[0][0]
    return next(archive_entry for archive_entry in files if archive_entry.suffix == usual_suffix)


def _is_hidden(relative_path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in relative_path.parts)


def _decompressed_head(file: IO[bytes], log_file: Path) -> bytes:
    """First bytes of the content, decompressed by what the file begins with."""
    magic = file.read(6)
    file.seek(0)
    if magic[:2] == _GZIP:
        return _gzip_head(file.read(SAMPLE_BYTES))
    if magic[:3] == b"BZh":
        return _read_head(bz2.BZ2File(file))
    if magic[:6] == b"\xfd7zXZ\x00":
        return _read_head(lzma.LZMAFile(file))
    if magic[:4] == b"\x28\xb5\x2f\xfd":
        return bytes(pa.CompressedInputStream(file, "zstd").read(SAMPLE_BYTES))
    if magic[:4] == b"PK\x03\x04":
        return _zip_head(file, log_file)
    return file.read(SAMPLE_BYTES)


def _read_head(stream: Any) -> bytes:
    """First bytes of a stream; of one that is cut short, what there is."""
    chunks: list[bytes] = []
    with suppress(EOFError):
        while sum(map(len, chunks)) < SAMPLE_BYTES and (chunk := stream.read(_CHUNK_BYTES)):
            chunks.append(chunk)
    return b"".join(chunks)


def _gzip_head(compressed: bytes) -> bytes:
    """First bytes of gzip content that may be cut short or have several members."""
    content = b""
    while compressed[:2] == _GZIP and len(content) < SAMPLE_BYTES:
        archive_member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        content += archive_member.decompress(compressed, SAMPLE_BYTES - len(content))
        compressed = archive_member.unused_data
    return content


def _zip_head(file: IO[bytes], log_file: Path) -> bytes:
    with zipfile.ZipFile(file) as archive:
        members = [
            archive_member
            for archive_member in archive.namelist()
            if not archive_member.endswith("/")
        ]
        if any(archive_member.startswith("xl/") for archive_member in members):
            raise SourceError(
                "The file is an Excel workbook",
                received=log_file,
                way_out="Save the sheet as CSV UTF-8, or write the YAML with format: excel",
            )
        with archive.open(members[0]) as member_file:
            return _read_head(member_file)


def _parquet_sample(file: IO[bytes]) -> LogSample:
    parquet_file = pq.ParquetFile(file)
    first_batch = next(parquet_file.iter_batches(SAMPLE_ROWS), None)
    schema = parquet_file.schema_arrow
    columns = {
        name: [] if first_batch is None else _texts(first_batch.column(position).to_pylist())
        for position, name in enumerate(schema.names)
    }
    return LogSample(
        "parquet", columns, arrow_types={name: schema.field(name).type for name in columns}
    )


def _texts(values: Sequence[object]) -> list[str | None]:
    return [None if value is None or value != value else str(value) for value in values]


def _text_sample(head: bytes) -> LogSample:
    encoding = guess_encoding(head)
    text = head.decode(encoding.name, errors="ignore").lstrip("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(head) >= SAMPLE_BYTES:
        lines.pop()  # the last line may be cut
    while lines and not lines[-1].strip():
        lines.pop()
    json_columns = _json_columns(lines)
    if json_columns is not None:
        return LogSample("json", json_columns, encoding=encoding, doubts=encoding.doubts)
    dialect = guess_dialect(lines[: SAMPLE_ROWS + 100])
    return LogSample(
        "csv",
        dialect.columns(lines, SAMPLE_ROWS),
        dialect=dialect,
        encoding=encoding,
        doubts=(*encoding.doubts, *dialect.doubts),
    )


def _json_columns(lines: list[str]) -> dict[str, list[str | None]] | None:
    """Columns of JSON Lines or of a JSON array with one object a line; None if it is neither."""
    records: list[dict[str, Any]] = []
    stripped_lines = (line.strip().strip("[]").rstrip(",") for line in lines[:SAMPLE_ROWS])
    for line in filter(None, stripped_lines):
        try:
            json_record = json.loads(line)
        except ValueError:
            return None
        if not isinstance(json_record, dict):
            return None
        records.append(json_record)
    if not records:
        return None
    names = dict.fromkeys(name for json_record in records for name in json_record)
    return {
        name: [
            None
            if isinstance(value := json_record.get(name), dict | list) or value is None
            else str(value)
            for json_record in records
        ]
        for name in names
    }
