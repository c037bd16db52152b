"""Blocks of CSV lines made safe for Arrow's parser: what it would misread is read here.

Lines are classified by arrays of the positions of delimiters and quotation marks. Only lines
that CSV does not explain, or that have the wrong number of columns, are read one by one.
"""

import re
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import SourceError
from chronotope.datasets.files.csv_header import CsvHeader
from chronotope.datasets.files.quoting import Dialect, Record, RecordReader, to_safe_csv
from chronotope.datasets.files.text_lines import UNDECODABLE_BYTES, LineBlock, split_lines

_SEPARATORS: Final = (b"\x1f", b"\x1e", b"\x1d", b"\x1c", b"\x01", b"\x02", b"\x03", b"\x04")
_SAFE_QUOTE: Final = b'"'
_LF: Final = 10
_CR: Final = 13
_OUTER_BLANKS: Final = re.compile(rb"(?:^|(?<=[\r\n]))[ \t]+|[ \t]+(?=[\r\n]|\Z)")

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class CsvBlock:
    """Lines of a block for Arrow's parser, and what became of the others.

    Attributes:
        data: Rows with ``n_columns`` fields each.
        delimiter: Delimiter of ``data``, one byte.
        quote: Quotation mark of ``data``, one byte; empty if it has none.
        n_lines: Number of lines of the block that are dealt with; the others need the next block.
        n_blank: Number of blank lines.
        n_comment: Number of comment lines.
        n_rows: Number of rows.
        n_row_lines: Number of lines of these rows.
        n_multiline_rows: Number of rows over several lines.
        n_literal_quotes: Number of quotation marks that are plain characters.
        refused: Position in the block and reason of each refused line.
    """

    data: bytes
    delimiter: bytes
    quote: bytes
    n_lines: int
    n_blank: int = 0
    n_comment: int = 0
    n_rows: int = 0
    n_row_lines: int = 0
    n_multiline_rows: int = 0
    n_literal_quotes: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)


def clean_block(
    block: LineBlock, header: CsvHeader, comment: str | None, encoding: str
) -> CsvBlock:
    """Make the lines of a block safe for Arrow's parser.

    Args:
        block: Lines after the header.
        header: Dialect and number of columns.
        comment: Prefix of comment lines.
        encoding: Encoding of the file, for the reason of refused lines.
    """
    return _BlockCleaner(block, header, comment, encoding).cleaned()


class _BlockCleaner:
    """Cleaning of one block."""

    def __init__(
        self, block: LineBlock, header: CsvHeader, comment: str | None, encoding: str
    ) -> None:
        self._block, self._header, self._encoding = block, header, encoding
        self._comment = comment.encode() if comment is not None else None
        self._dialect = header.dialect
        self._delimiter = (
            self._dialect.literal_delimiter
            if self._dialect.is_simple
            else _free_separator(block.data)
        )
        self._lines = _with_one_byte_delimiter(block, self._dialect, self._delimiter)
        self._quote_classes = _QuoteClasses(
            self._lines, self._delimiter, self._dialect.quote if self._dialect.is_simple else b""
        )

    def cleaned(self) -> CsvBlock:
        """Classify all lines, read the special ones, and put the rows together."""
        refused_lines, comment_lines = self._refused_lines(), self._comment_lines()
        is_special = self._quote_classes.is_irregular(self._header.n_columns)
        is_special |= self._must_be_read()
        is_special[[*comment_lines, *refused_lines]] = True
        has_special = bool(is_special.any())
        if has_special and len(self._dialect.quote) != 1:
            is_special |= _lines_with(self._lines, _SAFE_QUOTE)
        csv_block = CsvBlock(
            self._lines.data, self._delimiter, self._arrow_quote(has_special), len(self._block)
        )
        if has_special:
            self._read_special(csv_block, np.flatnonzero(is_special), refused_lines, comment_lines)
        else:
            csv_block.n_rows = csv_block.n_row_lines = len(self._block)
            csv_block.n_literal_quotes = self._quote_classes.n_literal(0, len(self._block))
        return csv_block

    def _read_special(
        self,
        csv_block: CsvBlock,
        special_lines: Positions,
        refused_lines: dict[int, str],
        comment_lines: frozenset[int],
    ) -> None:
        """Read the special lines one by one, and put the rows of the block together."""
        reader = RecordReader(self._block, self._dialect, self._header.n_columns)
        pieces: list[bytes] = []
        next_line = 0
        for line_idx in special_lines.tolist():
            if line_idx < next_line:
                continue  # inside a record over several lines
            self._add_plain_lines(csv_block, pieces, next_line, line_idx)
            next_line = line_idx + 1
            if line_idx in refused_lines:
                csv_block.refused.append((line_idx, refused_lines[line_idx]))
            elif line_idx in comment_lines:
                csv_block.n_comment += 1
            elif not self._block.line(line_idx).strip():
                csv_block.n_blank += 1
            else:
                record = reader.read(line_idx)
                if record is None:  # the block ends inside a quoted field
                    csv_block.n_lines = next_line = line_idx
                    break
                if isinstance(record, str):
                    csv_block.refused.append((line_idx, record))
                else:
                    next_line = record.last_line + 1
                    self._add_record(csv_block, pieces, record, next_line - line_idx)
        self._add_plain_lines(csv_block, pieces, next_line, csv_block.n_lines)
        csv_block.data = b"".join(pieces)

    def _add_plain_lines(
        self, csv_block: CsvBlock, pieces: list[bytes], first_line: int, end_line: int
    ) -> None:
        if first_line < end_line:
            starts = self._lines.starts
            end = starts[end_line] if end_line < len(starts) else len(self._lines.data)
            pieces.append(self._lines.data[starts[first_line] : end])
            csv_block.n_rows += end_line - first_line
            csv_block.n_row_lines += end_line - first_line
            csv_block.n_literal_quotes += self._quote_classes.n_literal(first_line, end_line)

    def _add_record(
        self, csv_block: CsvBlock, pieces: list[bytes], record: Record, n_lines: int
    ) -> None:
        pieces.append(to_safe_csv(record.fields, self._delimiter, csv_block.quote) + b"\n")
        csv_block.n_rows += 1
        csv_block.n_row_lines += n_lines
        csv_block.n_multiline_rows += n_lines > 1
        csv_block.n_literal_quotes += record.n_literal

    def _arrow_quote(self, has_special: bool) -> bytes:
        """Quotation mark for Arrow; empty, which is faster, if the block has none."""
        quote = self._dialect.quote
        if len(quote) != 1:
            return _SAFE_QUOTE if has_special else b""
        return quote if has_special or quote in self._block.data else b""

    def _must_be_read(self) -> Mask:
        """Lines with characters that Arrow would not read as the dialect does."""
        is_special = np.zeros(len(self._block), np.bool_)
        if not self._dialect.is_simple and self._dialect.quote:
            is_special |= _lines_with(self._block, self._dialect.quote)
        if self._dialect.escape:
            is_special |= _lines_with(self._block, self._dialect.escape)
        return is_special

    def _refused_lines(self) -> dict[int, str]:
        """Lines that are no rows whatever their fields are, with the reasons."""
        refused = dict.fromkeys(self._repeated_headers(), "repeats the header")
        reason = f"bytes that are not text in the encoding {self._encoding}"
        return refused | dict.fromkeys(_line_indices(self._block, UNDECODABLE_BYTES), reason)

    def _comment_lines(self) -> frozenset[int]:
        if self._comment is None:
            return frozenset()
        return frozenset(_lines_like(self._block, self._comment, is_whole=False))

    def _repeated_headers(self) -> list[int]:
        header_line = self._header.line
        return _lines_like(self._block, header_line, is_whole=True) if header_line else []


class _QuoteClasses:
    """Classification of lines by their quotation marks and delimiters.

    In a line that CSV explains, marks take turns in opening and closing: an opening one follows
    a delimiter, the start of the line or a closing mark (a doubled one); a closing one precedes a
    delimiter, the end of the line or an opening mark. All arrays but those of positions have one
    byte for each byte of the text.
    """

    def __init__(self, lines: LineBlock, delimiter: bytes, quote: bytes) -> None:
        self._lines = lines
        self._code_units = np.frombuffer(lines.data, np.uint8)
        self._is_delimiter = self._code_units == delimiter[0]
        self._unexplained_lines = np.empty(0, np.int64)
        self._literal_counts: npt.NDArray[np.int64] | None = None
        self._delimiters = self._is_delimiter
        if len(quote) == 1 and quote in lines.data:
            self._classify(quote[0])

    def is_irregular(self, n_columns: int) -> Mask:
        """Lines that are blank, have another number of columns, or unexplained marks."""
        lines = self._lines
        delimiters = np.flatnonzero(self._delimiters)
        n_lines, n_delimiters = len(lines), n_columns - 1
        is_irregular = np.zeros(n_lines, np.bool_)
        is_regular = False
        if len(delimiters) == n_lines * n_delimiters > 0:
            table = delimiters.reshape(n_lines, n_delimiters)
            is_regular = bool(
                (table[:, 0] >= lines.starts).all() and (table[:, -1] < lines.ends).all()
            )
        if not is_regular:
            is_irregular |= _per_line(lines, delimiters) != n_delimiters
            is_irregular |= lines.starts == lines.ends
        is_irregular[self._unexplained_lines] = True
        return is_irregular

    def n_literal(self, first_line: int, end_line: int) -> int:
        """Number of marks in lines whose marks are all plain characters."""
        if self._literal_counts is None:
            return 0
        return int(self._literal_counts[first_line:end_line].sum())

    def _classify(self, quote: int) -> None:
        lines, code_units = self._lines, self._code_units
        is_quote = code_units == quote
        is_inside = self._inside(is_quote)
        is_boundary = self._is_delimiter | (code_units == _LF)
        if b"\r" in lines.data:
            is_boundary |= code_units == _CR
        is_partner = is_boundary | is_quote  # what may precede an opening, or follow a closing mark
        follows_partner, precedes_partner = np.ones_like(is_quote), np.ones_like(is_quote)
        follows_partner[1:] = is_partner[:-1]
        precedes_partner[:-1] = is_partner[1:]
        # Opening marks are inside, closing ones are not; logical operations are vectorised.
        is_explained = precedes_partner ^ (is_inside & (follows_partner ^ precedes_partner))
        unexplained = np.flatnonzero(is_quote & ~is_explained)
        is_odd = (lines.ends > lines.starts) & is_inside[np.maximum(lines.ends - 1, 0)]
        unexplained_lines = np.union1d(
            np.searchsorted(lines.starts, unexplained, side="right") - 1, np.flatnonzero(is_odd)
        )
        self._delimiters = self._is_delimiter & ~is_inside
        if len(unexplained_lines):
            begins_field = is_quote.copy()
            begins_field[1:] &= is_boundary[:-1]
            n_begins = _per_line(lines, np.flatnonzero(begins_field))
            is_literal = n_begins[unexplained_lines] == 0
            self._read_as_literal(unexplained_lines[is_literal], is_quote)
            unexplained_lines = unexplained_lines[~is_literal]
        self._unexplained_lines = unexplained_lines

    def _inside(self, is_quote: Mask) -> Mask:
        """Whether a mark is open at each byte: an odd number in its line up to there."""
        is_inside = np.bitwise_xor.accumulate(is_quote.view(np.uint8)).view(np.bool_)
        starts = self._lines.starts
        starts_inside = np.zeros(len(starts), np.bool_)
        starts_inside[1:] = is_inside[starts[1:] - 1]
        if starts_inside.any():
            line_bytes = np.diff(np.append(starts, len(is_quote)))
            is_inside ^= np.repeat(starts_inside, line_bytes)
        return is_inside

    def _read_as_literal(self, literal_lines: Positions, is_quote: Mask) -> None:
        """Lines without a mark at the start of a field: all marks are plain characters."""
        counts = np.zeros(len(self._lines), np.int64)
        for line_idx in literal_lines.tolist():
            line = slice(self._lines.starts[line_idx], self._lines.ends[line_idx])
            counts[line_idx] = np.count_nonzero(is_quote[line])
            self._delimiters[line] = self._is_delimiter[line]
        self._literal_counts = counts


def _per_line(lines: LineBlock, positions: Positions) -> npt.NDArray[np.int64]:
    """Number of some sorted positions in each line, shape (n_lines,)."""
    before_end = np.searchsorted(positions, lines.ends)
    return np.asarray(before_end - np.searchsorted(positions, lines.starts), dtype=np.int64)


def _lines_with(lines: LineBlock, text: bytes) -> Mask:
    """Lines that contain a text, shape (n_lines,)."""
    is_found = np.zeros(len(lines), np.bool_)
    if text in lines.data:
        if len(text) == 1:
            positions = np.flatnonzero(np.frombuffer(lines.data, np.uint8) == text[0])
            is_found |= _per_line(lines, positions) > 0
        else:
            is_found[_line_indices(lines, text)] = True
    return is_found


def _line_indices(lines: LineBlock, text: bytes) -> list[int]:
    """Positions of the lines that contain a rare text."""
    indices: list[int] = []
    position = -1 if lines.data.isascii() and not text.isascii() else lines.data.find(text)
    while position >= 0:
        line_idx = int(np.searchsorted(lines.starts, position, side="right")) - 1
        indices.append(line_idx)
        position = lines.data.find(text, int(lines.ends[line_idx]))
    return indices


def _lines_like(lines: LineBlock, text: bytes, *, is_whole: bool) -> list[int]:
    """Positions of the lines that are equal to a text, or begin with it."""
    code_units = np.frombuffer(lines.data, np.uint8)
    lengths = lines.ends - lines.starts
    is_long_enough = lengths == len(text) if is_whole else lengths >= len(text)
    candidates = np.flatnonzero(is_long_enough)
    candidates = candidates[code_units[lines.starts[candidates]] == text[0]]
    return [
        line_idx
        for line_idx in candidates.tolist()
        if lines.data.startswith(text, lines.starts[line_idx])
    ]


def _free_separator(data: bytes) -> bytes:
    """A control character that a text does not contain."""
    for separator in _SEPARATORS:
        if separator not in data:
            return separator
    raise SourceError(
        "The file contains control characters, so that its delimiter cannot be replaced by one",
        received=repr(data[:80])[1:],
        way_out="Store it with a delimiter of one character, or correct format",
    )


def _with_one_byte_delimiter(block: LineBlock, dialect: Dialect, separator: bytes) -> LineBlock:
    """The same lines with a one-byte delimiter; lines with quotation marks are of no use then."""
    if dialect.is_simple:
        return block
    data = block.data
    if dialect.is_whitespace:
        data = dialect.delimiter.sub(separator, _OUTER_BLANKS.sub(b"", data))
    elif dialect.skips_space:
        data = dialect.delimiter.sub(separator, data)
    else:
        data = data.replace(dialect.literal_delimiter, separator)
    return split_lines(data, block.first_line, is_last=block.is_last)
