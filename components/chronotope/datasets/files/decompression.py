"""Decompression of text files by their signatures, within a budget of bytes."""

import io
import lzma
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol

import pyarrow as pa

from chronotope.contracts.errors import SourceError
from chronotope.datasets.files.budget import ByteBudget
from chronotope.datasets.files.file_signatures import HEAD_BYTES, compression_name
from chronotope.runtime.regular_files import open_regular, require_regular

_ARROW_CODECS: Final = frozenset({"gzip", "bz2", "zstd", "lz4", "brotli"})
_WORKBOOK_SUFFIXES: Final = frozenset({".xlsx", ".xlsm", ".xlsb", ".ods"})
_MAX_SHOWN_MEMBERS: Final = 10


class ByteReader(Protocol):
    """Anything that bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes; none are left if the result is empty."""


@contextmanager
def open_decompressed(file_path: Path, max_bytes: int) -> Iterator[ByteReader]:
    """Open a file to read its decompressed bytes; the first bytes tell the compression.

    gzip, bzip2, xz, zstandard, lz4 and zip archives with one file are recognised whatever the
    name of the file; brotli has no signature and is recognised by the suffix ``.br``.

    Args:
        file_path: The file.
        max_bytes: Maximum decompressed size, bytes.

    Raises:
        SourceError: The file expands beyond the budget, is cut short or damaged, or is an
            archive of several files.
        OSError: The file cannot be read.
    """
    with ExitStack() as exit_stack:
        file = exit_stack.enter_context(open_regular(file_path))
        codec_name = compression_name(file.read(HEAD_BYTES))
        file.seek(0)
        if codec_name is None and file_path.suffix == ".br":
            codec_name = "brotli"
        if codec_name is None:
            yield file
            return
        byte_budget = ByteBudget(require_regular(file_path), max_bytes)
        content = _open_codec(exit_stack, file, codec_name, file_path)
        yield _BudgetedReader(content, byte_budget, file_path, codec_name)


def _open_codec(exit_stack: ExitStack, file: IO[bytes], codec_name: str, file_path: Path) -> Any:
    if codec_name in _ARROW_CODECS:
        return pa.CompressedInputStream(file, codec_name)
    if codec_name == "xz":
        return exit_stack.enter_context(lzma.LZMAFile(file))
    return _open_zip(exit_stack, file, file_path)


def _open_zip(exit_stack: ExitStack, file: IO[bytes], file_path: Path) -> Any:
    try:
        archive = exit_stack.enter_context(zipfile.ZipFile(file))
        all_names = [member.filename for member in archive.infolist() if not member.is_dir()]
        if file_path.suffix.lower() in _WORKBOOK_SUFFIXES or "[Content_Types].xml" in all_names:
            raise SourceError(
                f"{file_path} is an Excel workbook or another Office file, not text",
                received=", ".join(all_names[:_MAX_SHOWN_MEMBERS]),
                way_out="Set format: excel if it is a workbook, or save the sheet as CSV",
            )
        names = [name for name in all_names if not _is_hidden(name)]
        if len(names) != 1:
            raise SourceError(
                f"The archive {file_path} holds {len(names)} files instead of one",
                received=", ".join(names[:_MAX_SHOWN_MEMBERS]),
                way_out="Unpack it, and set path to the log",
            )
        return exit_stack.enter_context(archive.open(names[0]))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # encrypted
        raise _damaged(file_path, "zip", error) from error


def _is_hidden(member_name: str) -> bool:
    """Whether a member is metadata of macOS and the like."""
    return member_name.startswith("__MACOSX/") or Path(member_name).name.startswith(".")


class _BudgetedReader:
    """Decompressed bytes, within a budget; a damaged archive is a ``SourceError``."""

    def __init__(
        self, content: Any, byte_budget: ByteBudget, file_path: Path, codec_name: str
    ) -> None:
        self._content, self._budget = content, byte_budget
        self._path, self._codec = file_path, codec_name

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes.

        Raises:
            SourceError: The budget is exceeded, or the archive is cut short or damaged.
        """
        try:
            chunk: bytes = self._content.read(size)
        except (
            OSError,
            EOFError,
            pa.ArrowException,
            lzma.LZMAError,
            zipfile.BadZipFile,
            RuntimeError,
            NotImplementedError,
            ValueError,
        ) as error:
            raise _damaged(self._path, self._codec, error) from error
        self._budget.spend(len(chunk))
        return chunk


def _damaged(file_path: Path, codec_name: str, error: Exception) -> SourceError:
    return SourceError(
        f"The {codec_name} archive {file_path} is cut short, encrypted or damaged",
        received=error,
        way_out="Download or export it again; unpack it first if it has a password",
    )


def buffered(reader: ByteReader, first_bytes: bytes) -> ByteReader:
    """The same bytes, with some that were already read put back in front."""
    return _PrefixedReader(reader, first_bytes)


class _PrefixedReader:
    def __init__(self, reader: ByteReader, first_bytes: bytes) -> None:
        self._reader, self._first = reader, io.BytesIO(first_bytes)

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes, the prefix first."""
        return self._first.read(size) or self._reader.read(size)
