"""Dialect of a CSV file: delimiter, quotation marks, header and lines before it."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_DELIMITERS: Final = ("::", "\t", ";", "|", ",", "\x01", "^", "~")
_MIN_SHARE: Final = 0.8
_LOOKED_AT: Final = 500
_SEP_LINE: Final = re.compile(r"(?i)^\W{0,2}sep=(.)\W{0,2}$")
_NUMBER: Final = re.compile(r"^[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?$")
_DATE: Final = re.compile(r"\d{1,4}[-./年]\d{1,2}[-./月]\d{1,4}|\d{1,2}:\d{2}")
_BACKSLASH_QUOTE: Final = re.compile(r'\\"')


@dataclass(frozen=True, slots=True)
class TextDialect:
    """How the lines of a CSV file are split.

    Attributes:
        delimiter: Text between two fields; a blank stands for runs of blanks and tabs.
        quote: Quotation mark, or None if marks are plain characters.
        escape: Character before a quotation mark inside a quoted field, if any.
        has_header: Whether the first line holds the names of the columns.
        skip_rows: Number of lines before the header that are neither comments nor ``sep=``.
        comment: Prefix of comment lines, if there are any.
        names: Names of the columns; of a file without header, numbers from 1.
        first_row: Index of the first line with values.
        doubts: What is not sure.
    """

    delimiter: str
    quote: str | None
    escape: str | None
    has_header: bool
    skip_rows: int
    comment: str | None
    names: tuple[str, ...]
    first_row: int
    doubts: tuple[str, ...]

    def columns(self, text_lines: Sequence[str], max_rows: int) -> dict[str, list[str | None]]:
        """Texts of each column; rows with another number of fields are left out."""
        rows = [
            fields
            for fields in self._rows(text_lines[self.first_row : self.first_row + max_rows])
            if len(fields) == len(self.names)
        ]
        return {
            name: [fields[position] or None for fields in rows]
            for position, name in enumerate(self.names)
        }

    def _rows(self, text_lines: Sequence[str]) -> Iterator[list[str]]:
        value_lines = [
            text_line
            for text_line in text_lines
            if text_line and not (self.comment and text_line.startswith(self.comment))
        ]
        return (
            _split(text_line, self.delimiter, self.quote, self.escape) for text_line in value_lines
        )


def guess_dialect(text_lines: Sequence[str]) -> TextDialect:
    """Dialect of the lines of a CSV file.

    Args:
        text_lines: First lines of the file, without line breaks.
    """
    doubts: list[str] = []
    start, forced_delimiter, comment = _preamble(text_lines)
    body = [text_line for text_line in text_lines[start : start + _LOOKED_AT] if text_line.strip()]
    delimiter = forced_delimiter or _delimiter(body, doubts)
    quote, escape = _quoting(body, delimiter, doubts)
    rows = [_split(text_line, delimiter, quote, escape) for text_line in body]
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 1
    skip_rows = next((index for index, row in enumerate(rows) if len(row) == width), 0)
    rows = rows[skip_rows:]
    has_header = _has_header(rows, doubts)
    header = [name.strip() for name in rows[0]] if rows and has_header else []
    names = tuple(header) if header else tuple(str(number) for number in range(1, width + 1))
    repeated_names = [name for name, count in Counter(names).items() if count > 1]
    if repeated_names:
        doubts.append(f"columns: the header names {', '.join(repeated_names)} twice")
    if skip_rows:
        doubts.append(f"skip_rows: the first {skip_rows} lines look like a title, not like rows")
    return TextDialect(
        delimiter=delimiter,
        quote=quote,
        escape=escape,
        has_header=has_header,
        skip_rows=skip_rows,
        comment=comment,
        names=names,
        first_row=start + skip_rows + int(has_header),
        doubts=tuple(doubts),
    )


def _preamble(text_lines: Sequence[str]) -> tuple[int, str | None, str | None]:
    """Number of comment lines and ``sep=`` lines at the start, the delimiter, and the prefix."""
    start, delimiter, comment = 0, None, None
    for text_line in text_lines:
        separator_line = _SEP_LINE.match(text_line)
        if separator_line:
            delimiter = separator_line[1]
        elif text_line.startswith("#"):
            comment = "#"
        elif text_line.strip():
            break
        start += 1
    return start, delimiter, comment


def _delimiter(body: Sequence[str], doubts: list[str]) -> str:
    """The delimiter that gives most lines the same number of fields, as the first line has."""
    item_scores = {}
    for delimiter in _DELIMITERS:
        widths = [len(_split(text_line, delimiter, '"', None)) for text_line in body]
        width, count = Counter(widths).most_common(1)[0] if widths else (1, 0)
        if width > 1:
            first_fits = widths[0] == width
            item_scores[delimiter] = (round(count / len(widths), 1) + first_fits, width)
    usable = {
        delimiter: score for delimiter, score in item_scores.items() if score[0] >= _MIN_SHARE
    }
    if "::" in usable:
        return "::"
    if usable:
        ranking = sorted(usable, key=lambda delimiter: usable[delimiter], reverse=True)
        if len(ranking) > 1 and usable[ranking[0]][0] - usable[ranking[1]][0] < 0.1:
            doubts.append(f"delimiter: {ranking[1]!r} would fit as well")
        return ranking[0]
    blank_widths = [len(text_line.split()) for text_line in body]
    width, count = Counter(blank_widths).most_common(1)[0] if blank_widths else (1, 0)
    if width >= 3 and count >= _MIN_SHARE * len(blank_widths):
        doubts.append("delimiter: the columns are separated by blanks")
        return " "
    doubts.append("delimiter: no character divides the lines into equally many fields")
    return ","


def _quoting(
    body: Sequence[str], delimiter: str, doubts: list[str]
) -> tuple[str | None, str | None]:
    """Quotation mark and escape character."""
    with_marks = [text_line for text_line in body if '"' in text_line]
    if not with_marks:
        return '"', None
    if any(_BACKSLASH_QUOTE.search(text_line) for text_line in with_marks):
        doubts.append('escape: a quotation mark is written as \\" inside a field')
        return '"', "\\"
    stray_lines = [
        text_line for text_line in with_marks if not _is_well_quoted(text_line, delimiter)
    ]
    if stray_lines:
        doubts.append(
            f"quote: {len(stray_lines)} of {len(body)} lines have quotation marks that do not "
            "enclose a field; they are read as plain characters"
        )
        return None, None
    return '"', None


def _is_well_quoted(text_line: str, delimiter: str) -> bool:
    """Whether marks only enclose whole fields, with doubled ones inside."""
    fields = text_line.split(delimiter)
    is_open = False
    for field_text in fields:
        marks = field_text.count('"')
        stripped = field_text.strip()
        if not is_open:
            if marks and not stripped.startswith('"'):
                return False
            is_open = marks % 2 == 1
            if marks and not is_open and not stripped.endswith('"'):
                return False
        elif marks % 2 == 1:
            if not stripped.endswith('"'):
                return False
            is_open = False
    return not is_open


def _split(text_line: str, delimiter: str, quote: str | None, escape: str | None) -> list[str]:
    if delimiter == " ":
        return text_line.split()
    if len(delimiter) > 1:
        return text_line.split(delimiter)
    if quote is None or quote not in text_line:
        return text_line.split(delimiter)
    reader = csv.reader(
        [text_line],
        delimiter=delimiter,
        quotechar=quote,
        escapechar=escape,
        doublequote=True,
        skipinitialspace=True,
    )
    try:
        return next(reader, [])
    except csv.Error:  # such as a field that is too long
        return text_line.split(delimiter)


def _has_header(rows: Sequence[Sequence[str]], doubts: list[str]) -> bool:
    """Whether the first row holds names: texts above numbers and times, none of them repeated."""
    if not rows:
        return False
    first_row, other_rows = [cell_text.strip() for cell_text in rows[0]], rows[1:51]
    if [*first_row] in (
        [str(n) for n in range(len(first_row))],
        [str(n + 1) for n in range(len(first_row))],
    ):
        doubts.append("header: the first line numbers the columns")
        return True
    if any(_is_value(cell_text) for cell_text in first_row):
        doubts.append(
            "header: the first line holds values, so the file has no header; the columns are "
            "numbered from 1"
        )
        return False
    has_values = any(_is_value(cell_text) for row in other_rows for cell_text in row)
    if not has_values:
        doubts.append("header: all lines are texts; the first is taken as the header")
    return True


def _is_value(cell_text: str) -> bool:
    """Whether a cell is a number, a date or a time rather than a name."""
    return bool(_NUMBER.match(cell_text.strip())) or bool(_DATE.search(cell_text))
