"""Blocks of complete lines of a text file, as UTF-8, with exact line numbers."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import SourceError
from chronotope.datasets.files.decompression import ByteReader
from chronotope.datasets.files.file_signatures import HEAD_BYTES

READ_BYTES: Final = 1 << 20
"""Number of bytes that are read and split at a time."""

MAX_LINE_BYTES: Final = 16 << 20
"""Maximum length of a line, bytes."""

UNDECODABLE: Final = "\ufdd0"
"""Mark in front of a byte that is not text in the encoding; a noncharacter of Unicode."""

UNDECODABLE_BYTES: Final = UNDECODABLE.encode()

_MARK_HANDLER: Final = "chronotope-mark"
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NUL_SHARE: Final = 0.1
_LF: Final = 10
_CR: Final = 13


@dataclass(frozen=True, slots=True)
class LineBlock:
    """Complete lines of a file.

    Attributes:
        data: Their text in UTF-8, with the line breaks.
        starts: Position of the first byte of each line, shape (n_lines,).
        ends: Position after the last byte of each line, without its break, shape (n_lines,).
        first_line: Number of the first line in the file, from 1.
        is_last: Whether the file ends with this block.
    """

    data: bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    first_line: int
    is_last: bool

    def __len__(self) -> int:
        """Number of lines."""
        return len(self.starts)

    def line(self, line_idx: int) -> bytes:
        """One line without its break."""
        return self.data[self.starts[line_idx] : self.ends[line_idx]]

    def text(self, line_idx: int) -> str:
        """One line to show; undecodable bytes are written in hexadecimal."""
        return self.line(line_idx).decode("utf-8", "replace").replace(UNDECODABLE, "")

    def rest(self, line_idx: int) -> "LineBlock":
        """The lines from a position on."""
        if line_idx == 0:
            return self
        start = int(self.starts[line_idx]) if line_idx < len(self) else len(self.data)
        return LineBlock(
            self.data[start:],
            self.starts[line_idx:] - start,
            self.ends[line_idx:] - start,
            self.first_line + line_idx,
            self.is_last,
        )


def split_lines(data: bytes, first_line: int, *, is_last: bool) -> LineBlock:
    """Lines of a text; LF, CRLF and CR end a line, also mixed."""
    code_units = np.frombuffer(data, np.uint8)
    breaks = np.flatnonzero(code_units == _LF)
    widths: npt.NDArray[np.int64] | int = 1
    if b"\r" in data:
        returns = np.flatnonzero(code_units == _CR)
        is_after_return = (breaks > 0) & (code_units[breaks - 1] == _CR)
        line_feeds = breaks[~is_after_return]
        breaks = np.sort(np.concatenate([returns, line_feeds]))
        padded = np.append(code_units, np.uint8(0))
        widths = 1 + ((padded[breaks] == _CR) & (padded[breaks + 1] == _LF)).astype(np.int64)
    starts = np.concatenate([[0], breaks + widths])
    if starts[-1] == len(data):
        return LineBlock(data, starts[:-1], breaks, first_line, is_last)
    return LineBlock(data, starts, np.append(breaks, len(data)), first_line, is_last)


class LineReader:
    """Reader of a text file in blocks of complete lines, in bounded memory."""

    def __init__(
        self, reader: ByteReader, encoding: str, file_label: object, read_bytes: int = READ_BYTES
    ) -> None:
        """Check the byte-order mark against the encoding.

        Args:
            reader: Decompressed bytes of the file.
            encoding: Encoding in the dataset's YAML.
            file_label: Name of the file for messages.
            read_bytes: Number of bytes that are read at a time.

        Raises:
            SourceError: The file begins with the byte-order mark of another encoding.
            LookupError: The encoding is unknown, or encodes no text.
        """
        "".encode(encoding)  # raises for codecs that are no text encodings, such as zlib
        codecs.register_error(_MARK_HANDLER, _mark_undecodable)
        self._reader, self._label, self._read_bytes = reader, file_label, read_bytes
        head = reader.read(HEAD_BYTES)
        require_encoding(head, encoding, file_label)
        codec_name = codecs.lookup(encoding).name
        self._is_utf8 = codec_name in ("utf-8", "utf-8-sig")
        if self._is_utf8:
            head = head.removeprefix(codecs.BOM_UTF8)
        self._decoder = codecs.getincrementaldecoder(encoding)(errors=_MARK_HANDLER)
        self._pending = head if self._is_utf8 else self._to_utf8(head, is_last=False)
        self._pending = self._pending.removeprefix(codecs.BOM_UTF8)
        self._line = 1
        self._is_finished = False

    def blocks(self) -> Iterator[LineBlock]:
        """All lines, block by block.

        Raises:
            SourceError: A line is longer than ``MAX_LINE_BYTES``.
        """
        while (block := self.next_block()) is not None:
            yield block

    @property
    def head(self) -> bytes:
        """The first bytes in UTF-8, before any block is read."""
        return self._pending

    def next_block(self) -> LineBlock | None:
        """The next lines; None at the end of the file."""
        if self._is_finished and not self._pending:
            return None
        while True:
            if not self._is_finished:
                chunk = self._reader.read(self._read_bytes)
                self._is_finished = not chunk
                self._pending += chunk if self._is_utf8 else self._to_utf8(chunk, is_last=not chunk)
            cut = len(self._pending) if self._is_finished else _last_break(self._pending)
            if cut or self._is_finished:
                break
            if len(self._pending) > MAX_LINE_BYTES:
                raise SourceError(
                    f"A row is longer than {MAX_LINE_BYTES:,} bytes: line {self._line:,} of "
                    f"{self._label}",
                    received=repr(self._pending[:80])[1:],
                    way_out="The file may lack line breaks, or be in another format: correct "
                    "format in the dataset's YAML",
                )
        if not cut:
            return None
        data, self._pending = self._pending[:cut], self._pending[cut:]
        if self._is_utf8:
            data = _with_marks(data)
        block = split_lines(data, self._line, is_last=self._is_finished)
        self._line += len(block)
        return block

    def texts(self) -> Iterator[str]:
        """The whole text in pieces, for formats in which line breaks mean nothing."""
        if self._is_utf8:
            yield self._decoder.decode(self._pending)
        else:
            yield self._pending.decode("utf-8", "surrogatepass")
        while chunk := self._reader.read(self._read_bytes):
            yield self._decoder.decode(chunk)
        yield self._decoder.decode(b"", True)

    def put_back(self, block: LineBlock) -> None:
        """Return the last lines of a block, which the next one then begins with."""
        self._line -= len(block)
        self._pending = block.data + self._pending

    def _to_utf8(self, chunk: bytes, *, is_last: bool) -> bytes:
        return self._decoder.decode(chunk, is_last).encode("utf-8", "surrogatepass")


def require_encoding(head: bytes, encoding: str, file_label: object) -> None:
    """Check the first bytes of a file against the encoding in the dataset's YAML.

    Raises:
        SourceError: They are the byte-order mark of another encoding, or no text.
    """
    codec_name = codecs.lookup(encoding).name
    for byte_order_mark, marked_encoding in _BYTE_ORDER_MARKS:
        if head.startswith(byte_order_mark):
            if codec_name.startswith(marked_encoding):
                return
            raise SourceError(
                f"{file_label} begins with the byte-order mark of {marked_encoding}",
                received=f"encoding: {encoding}",
                way_out=f"Set encoding: {marked_encoding} in the dataset's YAML",
            )
    is_wide = codec_name.startswith(("utf-16", "utf-32"))
    has_zeros = b"\0" in head.partition(b"\n")[0] or head.count(0) > _NUL_SHARE * len(head)
    if not is_wide and has_zeros:
        n_even = head[::2].count(0)
        n_odd = head[1::2].count(0)
        wide_encoding = "utf-16-le" if n_odd > n_even else "utf-16-be"
        raise SourceError(
            f"{file_label} is not text in the encoding {encoding}: it contains zero bytes",
            received=repr(head[:40])[1:],
            way_out=f"Set encoding: {wide_encoding} if it is UTF-16 without a byte-order mark, "
            "or correct path and format",
        )


def _last_break(data: bytes) -> int:
    """Position after the last line break; a CR at the end may be half of one."""
    return max(data.rfind(b"\n"), data.rfind(b"\r", 0, max(len(data) - 1, 0))) + 1


def _with_marks(data: bytes) -> bytes:
    """The same bytes, with a mark in front of each one that is not UTF-8."""
    if data.isascii():
        return data
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", _MARK_HANDLER).encode("utf-8", "surrogatepass")
    return data


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad_bytes = error.object[error.start : error.end]
    return UNDECODABLE + "".join(f"\\x{byte:02x}" for byte in bad_bytes), error.end
