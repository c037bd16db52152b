"""Reading of records with quotation marks that no rule of CSV explains, by evidence."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chronotope.datasets.files.text_lines import LineBlock
from chronotope.datasets.text_options import WHITESPACE, TextOptions

MAX_RECORD_LINES: Final = 1_000
"""Maximum number of lines of a record with line breaks in quoted fields."""

MAX_RECORD_BYTES: Final = 1 << 20
"""Maximum length of such a record, bytes."""

_BACKSLASH: Final = b"\\"


@dataclass(frozen=True, slots=True)
class Dialect:
    """Delimiter and quotation of a CSV file.

    Attributes:
        delimiter: Pattern of a delimiter in UTF-8.
        quote: Quotation mark; empty if every mark is a plain character.
        escape: Escape character; empty if there is none.
        is_whitespace: Whether runs of spaces and tabs separate the columns.
        skips_space: Whether spaces after a delimiter are left out.
        literal_delimiter: The delimiter itself; empty with ``is_whitespace``.
    """

    delimiter: re.Pattern[bytes]
    quote: bytes
    escape: bytes
    is_whitespace: bool
    skips_space: bool
    literal_delimiter: bytes

    @property
    def is_simple(self) -> bool:
        """Whether the delimiter is one byte, so that lines are parsed as they are."""
        return len(self.literal_delimiter) == 1 and not self.skips_space


def make_dialect(text_options: TextOptions, delimiter: str, *, skips_space: bool) -> Dialect:
    """Dialect of a file.

    Args:
        text_options: Quotation mark and escape character.
        delimiter: The delimiter, or ``whitespace``.
        skips_space: Whether spaces after a delimiter are left out.
    """
    is_whitespace = delimiter == WHITESPACE
    literal = b"" if is_whitespace else delimiter.encode()
    pattern = rb"[ \t]+" if is_whitespace else re.escape(literal) + rb" *" * skips_space
    quote = (text_options.quote or "").encode()
    escape = (text_options.escape or "").encode()
    return Dialect(
        re.compile(pattern),
        quote,
        b"" if escape == quote else escape,
        is_whitespace,
        skips_space,
        literal,
    )


@dataclass(frozen=True, slots=True)
class Record:
    """One way to read a record.

    Attributes:
        fields: Values in UTF-8.
        last_line: Position of its last line in the block.
        n_literal: Number of quotation marks that are plain characters.
        is_open: Whether a quoted field is not closed, and therefore literal.
        reaches_end: Whether the closing mark was searched up to the end of the block.
    """

    fields: list[bytes]
    last_line: int
    n_literal: int
    is_open: bool
    reaches_end: bool


class RecordReader:
    """Reader of single records of a block of lines.

    A quoted field that closes within its line is what CSV says it is. An unpaired mark is
    a plain character if the lines up to the closing one all have the right number of columns;
    otherwise the record goes over several lines if that gives the right number; a line for
    which nothing does is refused.
    """

    def __init__(self, block: LineBlock, dialect: Dialect, n_columns: int) -> None:
        """Read records of a block.

        Args:
            block: The lines.
            dialect: Delimiter and quotation.
            n_columns: Number of columns of the file.
        """
        self._block, self._dialect, self._n_columns = block, dialect, n_columns

    def read(self, line_idx: int) -> Record | str | None:
        """Read the record that begins with a line.

        Returns:
            The record; or the reason why its first line is refused; or None if more lines are
            needed than the block has.
        """
        dialect, n_columns = self._dialect, self._n_columns
        inline = self._scan(line_idx, dialect.escape, joins=False)
        if inline.is_open:
            joined = self._scan(line_idx, dialect.escape, joins=True)
            if joined.is_open and joined.reaches_end:
                return None
            if (
                joined.last_line > line_idx
                and len(joined.fields) == n_columns
                and not self._are_rows(line_idx, joined.last_line)
            ):
                return joined
        return self._read_line(line_idx, inline)

    def _read_line(self, line_idx: int, inline: Record) -> Record | str:
        """Read a line by itself, or say why it is refused."""
        dialect, n_columns = self._dialect, self._n_columns
        if dialect.quote and not dialect.escape and inline.n_literal:
            escaped = self._read_escaped(line_idx)
            if escaped is not None:
                return escaped
        if len(inline.fields) == n_columns:
            return inline
        literal = self._scan(line_idx, b"", joins=False, quoted=False)
        if len(literal.fields) == n_columns:
            return literal
        n_found = len(inline.fields)
        return f"{n_found} column{'s' * (n_found != 1)} instead of {n_columns}"

    def read_header(self, line_idx: int) -> Record:
        """Read the header, whose number of columns is not known; it may span several lines."""
        inline = self._scan(line_idx, self._dialect.escape, joins=False)
        joined = (
            self._scan(line_idx, self._dialect.escape, joins=True) if inline.is_open else inline
        )
        return inline if joined.is_open else joined

    def _read_escaped(self, line_idx: int) -> Record | None:
        """Reading with backslashes in front of marks, if it explains all of them."""
        if _BACKSLASH + self._dialect.quote not in self._block.line(line_idx):
            return None
        record = self._scan(line_idx, _BACKSLASH, joins=False)
        if record.is_open:
            record = self._scan(line_idx, _BACKSLASH, joins=True)
        return record if len(record.fields) == self._n_columns and not record.n_literal else None

    def _are_rows(self, first_line: int, last_line: int) -> bool:
        """Whether each of some lines, read by itself, has the right number of columns."""
        return all(
            any(
                len(self._scan(line_idx, escape, joins=False, quoted=quoted).fields)
                == self._n_columns
                for escape, quoted in ((b"", False), (self._dialect.escape, True))
            )
            for line_idx in range(first_line, last_line + 1)
        )

    def _scan(self, line_idx: int, escape: bytes, *, joins: bool, quoted: bool = True) -> Record:
        """Split one record; a field that is not quoted properly is literal up to a delimiter."""
        data, dialect = self._block.data, self._dialect
        byte_position, line_end = self._bounds(line_idx)
        limit, reaches_end = self._limit(line_idx) if joins else (line_end, False)
        fields: list[bytes] = []
        n_literal, is_open = 0, False
        while True:
            if quoted and dialect.quote and data.startswith(dialect.quote, byte_position, line_end):
                value, after, is_closed = self._quoted_field(byte_position, limit, escape)
                is_open |= not is_closed
                if value is not None:
                    fields.append(value)
                    while after > line_end:
                        line_idx += 1
                        line_end = self._bounds(line_idx)[1]
                    if after == line_end:
                        break
                    pattern_match = dialect.delimiter.match(data, after, line_end)
                    byte_position = pattern_match.end() if pattern_match else line_end
                    continue
            pattern_match = self._next_delimiter(byte_position, line_end, escape)
            value = data[byte_position : pattern_match.start() if pattern_match else line_end]
            n_literal += value.count(dialect.quote) if dialect.quote else 0
            fields.append(self._unescaped(value, escape))
            if pattern_match is None:
                break
            byte_position = pattern_match.end()
        return Record(fields, line_idx, n_literal, is_open, reaches_end)

    def _bounds(self, line_idx: int) -> tuple[int, int]:
        start, end = int(self._block.starts[line_idx]), int(self._block.ends[line_idx])
        if self._dialect.is_whitespace:
            line = self._block.data[start:end]
            start += len(line) - len(line.lstrip(b" \t"))
            end = max(start, end - (len(line) - len(line.rstrip(b" \t"))))
        return start, end

    def _limit(self, line_idx: int) -> tuple[int, bool]:
        """End of the search for a closing mark, and whether it is that of an unfinished file."""
        block = self._block
        last_line = min(line_idx + MAX_RECORD_LINES, len(block) - 1)
        byte_limit = int(block.starts[line_idx]) + MAX_RECORD_BYTES
        line_limit = int(block.ends[last_line])
        is_cut = last_line == len(block) - 1 and line_limit < byte_limit and not block.is_last
        return min(line_limit, byte_limit), is_cut

    def _quoted_field(
        self, byte_position: int, limit: int, escape: bytes
    ) -> tuple[bytes | None, int, bool]:
        """Value and end of a quoted field, and whether the next single mark was reached.

        The value is None if no mark follows, or if the next single one does not end its field.
        """
        data, quote = self._block.data, self._dialect.quote
        byte_position += len(quote)
        pieces: list[bytes] = []
        while True:
            mark = data.find(quote, byte_position, limit)
            if mark < 0:
                return None, byte_position, False
            escape_at = data.find(escape, byte_position, mark) if escape else -1
            if escape_at >= 0:
                pieces.append(data[byte_position:escape_at])
                byte_position = escape_at + len(escape)
                escaped_text = self._escapable(byte_position)
                pieces.append(escaped_text or escape)
                byte_position += len(escaped_text)
                continue
            pieces.append(data[byte_position:mark])
            after = mark + len(quote)
            if data.startswith(quote, after, limit):
                pieces.append(quote)
                byte_position = after + len(quote)
                continue
            is_end = after == len(data) or data[after : after + 1] in (b"\n", b"\r")
            is_end |= self._dialect.is_whitespace and after >= limit  # blanks follow
            if is_end or self._dialect.delimiter.match(data, after, limit):
                return b"".join(pieces), after, True
            return None, after, True

    def _escapable(self, byte_position: int) -> bytes:
        """Mark, escape character or delimiter at a position; empty for other text."""
        dialect, data = self._dialect, self._block.data
        candidates = (dialect.quote, dialect.escape or _BACKSLASH, dialect.literal_delimiter)
        return next(
            (text for text in candidates if text and data.startswith(text, byte_position)), b""
        )

    def _next_delimiter(
        self, byte_position: int, line_end: int, escape: bytes
    ) -> re.Match[bytes] | None:
        search: Callable[..., re.Match[bytes] | None] = self._dialect.delimiter.search
        pattern_match = search(self._block.data, byte_position, line_end)
        if self._dialect.escape and escape:
            while pattern_match and _is_escaped(
                self._block.data, byte_position, pattern_match.start(), escape
            ):
                pattern_match = search(self._block.data, pattern_match.end(), line_end)
        return pattern_match

    def _unescaped(self, value: bytes, escape: bytes) -> bytes:
        """Plain value without escapes of marks and delimiters, if the dialect has them."""
        if not (self._dialect.escape and escape) or escape not in value:
            return value
        escapable = b"|".join(
            re.escape(character)
            for character in (escape, self._dialect.quote, self._dialect.literal_delimiter)
            if character
        )
        return re.sub(re.escape(escape) + b"(" + escapable + b")", rb"\1", value)


def _is_escaped(data: bytes, start: int, byte_position: int, escape: bytes) -> bool:
    """Whether an odd number of escape characters precedes a position."""
    text = data[start:byte_position]
    n_escapes = (len(text) - len(text.rstrip(escape))) // len(escape)
    return n_escapes % 2 == 1


def to_safe_csv(fields: list[bytes], delimiter: bytes, quote: bytes) -> bytes:
    """A row in which every field is quoted."""
    return delimiter.join(quote + value.replace(quote, quote + quote) + quote for value in fields)
