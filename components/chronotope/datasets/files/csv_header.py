"""Header of a CSV file: lines before it, names of the columns, and files without one."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chronotope.contracts.errors import SchemaError
from chronotope.datasets.columns import check_columns
from chronotope.datasets.files.budget import MAX_COLUMNS
from chronotope.datasets.files.line_accounting import LineCounts
from chronotope.datasets.files.quoting import Dialect, RecordReader, make_dialect
from chronotope.datasets.files.text_lines import LineBlock
from chronotope.datasets.table_spec import TableSpec

_AUTO_COMMENT: Final = b"#"
_SEPARATOR_LINE: Final = re.compile(rb'^"?sep=(.{1,4}?)"?$', re.IGNORECASE)
_NUMBER: Final = re.compile(r"^[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?$")
_DATE: Final = re.compile(r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?$")
_DELIMITERS: Final = (",", ";", "\t", "|", "::")
_SEARCHED_LINES: Final = 50
_SHOWN_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """What the first lines of a CSV file say of the others.

    Attributes:
        dialect: Delimiter and quotation.
        n_columns: Number of columns.
        positions: Position of each needed column, by name in the dataset's YAML.
        line: The header line itself; None if the file has none.
        n_lines: Number of lines before the first row.
    """

    dialect: Dialect
    n_columns: int
    positions: dict[str, int]
    line: bytes | None
    n_lines: int


def read_header(
    table_spec: TableSpec, block: LineBlock, counts: LineCounts, file_label: object
) -> CsvHeader | None:
    """Read the first lines of a CSV file.

    Args:
        table_spec: Options and columns.
        block: First lines of the file.
        counts: Counts of the file, to which the lines before the first row are added.
        file_label: Name of the file for messages.

    Returns:
        The header; None if the block holds nothing but lines that are no data.

    Raises:
        SchemaError: Columns are missing, mapped twice, too many or ambiguous.
    """
    header_search = _HeaderSearch(table_spec, block, counts, file_label)
    return header_search.header()


class _HeaderSearch:
    def __init__(
        self, table_spec: TableSpec, block: LineBlock, counts: LineCounts, file_label: object
    ) -> None:
        self._spec, self._block, self._counts, self._label = table_spec, block, counts, file_label
        self._delimiter = table_spec.delimiter
        self._line_idx = 0

    def header(self) -> CsvHeader | None:
        """Skip what comes before the header, then match the needed columns to its names."""
        self._skip_rows()
        self._read_separator_line()
        self._skip_blank_and_comments()
        if self._line_idx >= len(self._block):
            return None
        skips_space = self._skips_space()
        dialect = make_dialect(self._spec, self._delimiter, skips_space=skips_space)
        first_fields, n_lines = self._fields(dialect)
        if len(first_fields) > MAX_COLUMNS:
            raise SchemaError(
                f"The header has more than {MAX_COLUMNS:,} columns",
                received=self._label,
                way_out="Store only the needed columns, or correct delimiter in the dataset's YAML",
            )
        names = self._headerless_names(first_fields)
        is_header = names is None
        names = names or self._header_names(first_fields)
        positions = self._positions(names)
        header_line = self._block.line(self._line_idx) if is_header and n_lines == 1 else None
        if is_header:
            self._line_idx += n_lines
            self._counts.n_header += n_lines
        return CsvHeader(dialect, len(names), positions, header_line, self._line_idx)

    def _skip_rows(self) -> None:
        n_skipped = min(self._spec.skip_rows - self._counts.n_skipped, len(self._block))
        self._line_idx = max(n_skipped, 0)
        self._counts.n_skipped += self._line_idx

    def _read_separator_line(self) -> None:
        """Take the delimiter of Excel's first line ``sep=;``, unless the YAML sets one."""
        if self._line_idx or self._block.first_line > 1 or not len(self._block):
            return
        match = _SEPARATOR_LINE.match(self._block.line(0))
        if match is None:
            return
        self._line_idx = 1
        self._counts.n_skipped += 1
        if "delimiter" not in self._spec.model_fields_set:
            text = match.group(1).decode("utf-8", "replace")
            self._delimiter = "\t" if text == "\\t" else text

    def _skip_blank_and_comments(self) -> None:
        while self._line_idx < len(self._block):
            line = self._block.line(self._line_idx)
            if not line.strip():
                self._counts.n_blank += 1
            elif self._is_comment(line):
                self._counts.n_comment += 1
            else:
                return
            self._line_idx += 1

    def _is_comment(self, line: bytes) -> bool:
        if self._spec.comment is not None:
            return line.startswith(self._spec.comment.encode())
        return line.startswith(_AUTO_COMMENT) and not self._is_header(line)

    def _is_header(self, line: bytes) -> bool:
        """Whether a line with ``#`` has the needed columns, or starts a file without header."""
        dialect = make_dialect(self._spec, self._delimiter, skips_space=False)
        fields = [_text(field) for field in dialect.delimiter.split(line)]
        names = _trimmed_names(fields) | _trimmed_names(_without_hash(fields))
        return names.issuperset(self._spec.needed)

    def _skips_space(self) -> bool:
        """Whether spaces after delimiters are left out: if the header has one after each."""
        if self._delimiter.isspace() or self._delimiter == "whitespace":
            return False
        if self._spec.skip_initial_space is not None:
            return self._spec.skip_initial_space
        line, delimiter = self._block.line(self._line_idx), self._delimiter.encode()
        n_delimiters = line.count(delimiter)
        return n_delimiters > 0 and line.count(delimiter + b" ") == n_delimiters

    def _fields(self, dialect: Dialect) -> tuple[list[str], int]:
        """Fields of the first line or lines, and the number of lines."""
        record = RecordReader(self._block, dialect, 0).read_header(self._line_idx)
        return [_text(field) for field in record.fields], record.last_line - self._line_idx + 1

    def _header_names(self, first_fields: list[str]) -> list[str]:
        """Names of the columns of a file with a header."""
        spec = self._spec
        if spec.names:
            return list(spec.names)  # also if the header has fewer columns than the rows
        if spec.header is None:
            self._refuse_values_as_names(first_fields)
        names = first_fields
        if not _trimmed_names(names).issuperset(spec.needed):
            without_hash = _without_hash(first_fields)
            names = without_hash if _trimmed_names(without_hash) & set(spec.needed) else names
        return names

    def _headerless_names(self, first_fields: list[str]) -> list[str] | None:
        """Names of the columns of a file without header; None if the first line is one."""
        spec, n_columns = self._spec, len(first_fields)
        trimmed_fields = [field.strip() for field in first_fields]
        if spec.header or (spec.header is None and trimmed_fields == list(spec.names)):
            return None
        if spec.names:
            self._require_names(n_columns)
            return list(spec.names)
        is_numbered = all(name.isascii() and name.isdigit() for name in spec.needed)
        if spec.header is None:
            is_event = any(_is_value(field) for field in trimmed_fields)
            is_in_header = set(spec.needed) <= set(trimmed_fields)
            if not is_numbered or not is_event or is_in_header:
                return None
            self._require_unambiguous_numbers(n_columns)
        first_number = 0 if "0" in spec.needed else 1
        return [str(first_number + column) for column in range(n_columns)]

    def _require_unambiguous_numbers(self, n_columns: int) -> None:
        numbers = [int(name) for name in self._spec.needed]
        if 0 in numbers or max(numbers) == n_columns:
            return
        raise SchemaError(
            f"The columns of {self._label} are mapped by number, and the numbers may count from 0 "
            "or from 1",
            received=f"{', '.join(self._spec.needed)} of {n_columns} columns: {self._shown_line()}",
            way_out=self._doubled_delimiter_hint()
            + "Set header: false, which counts from 1 (from 0 if 0 is mapped), or names",
        )

    def _doubled_delimiter_hint(self) -> str:
        fields = self._block.line(self._line_idx).split(self._delimiter.encode() or b",")
        is_doubled = len(fields) > 2 and not any(fields[1::2])
        return f'Set delimiter: "{self._delimiter * 2}" if that separates them. ' * is_doubled

    def _refuse_values_as_names(self, first_fields: list[str]) -> None:
        """Refuse mapped names that are values of the first event, which would be lost."""
        trimmed_fields = [field.strip() for field in first_fields]
        numbers = [str(number) for number in range(len(trimmed_fields) + 1)]
        if trimmed_fields in (numbers[:-1], numbers[1:]):
            return  # the header of a table without names
        values = [
            name for name in self._spec.needed if name.strip() in trimmed_fields and _is_value(name)
        ]
        if values:
            raise SchemaError(
                f"The first line of {self._label} looks like an event and not like a header: the "
                f"mapped columns {', '.join(values)} are values of it",
                received=self._shown_line(),
                way_out="Set header: false, with names or with numbers of columns from 1; or "
                "header: true if they are names",
            )

    def _require_names(self, n_columns: int) -> None:
        if len(self._spec.names) != n_columns:
            raise SchemaError(
                f"{self._label} has {n_columns} columns, and names lists {len(self._spec.names)}",
                received=self._shown_line(),
                way_out="Name every column in the dataset's YAML, or correct delimiter",
            )

    def _positions(self, names: list[str]) -> dict[str, int]:
        """Position of each needed column; an exact name goes before one with spaces around it."""
        trimmed_names = [name.strip() for name in names]
        positions: dict[str, int] = {}
        for needed_name in self._spec.needed:
            for candidates, wanted in (
                (names, needed_name),
                (trimmed_names, needed_name),
                (trimmed_names, needed_name.strip()),
            ):
                matches = [idx for idx, name in enumerate(candidates) if name == wanted]
                if len(matches) > 1:
                    raise SchemaError(
                        f"{self._label} has {len(matches)} columns named {needed_name!r}, which is "
                        "mapped",
                        received=", ".join(names)[:_SHOWN_CHARS],
                        way_out="Set header: true and names in the dataset's YAML, which renames "
                        "the columns in order, or rename one in the file",
                    )
                if matches:
                    positions[needed_name] = matches[0]
                    break
        if len(positions) < len(self._spec.needed):
            self._refuse_missing(names, positions)
        return positions

    def _refuse_missing(self, names: list[str], positions: dict[str, int]) -> None:
        hint_text = ""
        if self._spec.header is None and any(_is_value(name.strip()) for name in names):
            hint_text = (
                "The first line looks like an event: set header: false and names in the dataset's "
                "YAML"
            )
        for line_idx in range(self._line_idx + 1, min(len(self._block), _SEARCHED_LINES)):
            fields = self._block.text(line_idx).split(self._delimiter)
            if _trimmed_names([field.strip('"') for field in fields]) >= set(self._spec.needed):
                hint_text = (
                    f"Line {self._block.first_line + line_idx} has these columns: set skip_rows: "
                    f"{self._block.first_line + line_idx - 1} in the dataset's YAML"
                )
                break
        hint_text = hint_text or self._delimiter_hint()
        matched_names = {position: name for name, position in positions.items()}
        source_names = [matched_names.get(idx, name) for idx, name in enumerate(names)]
        check_columns(self._spec, source_names, self._label, way_out=hint_text)

    def _delimiter_hint(self) -> str:
        """What to set if another delimiter gives the needed columns; empty if none does."""
        for delimiter in _DELIMITERS:
            fields = self._block.text(self._line_idx).split(delimiter)
            if _trimmed_names([field.strip('"') for field in fields]) >= set(self._spec.needed):
                return f"Set delimiter: {json.dumps(delimiter)} in the dataset's YAML"
        return ""

    def _shown_line(self) -> str:
        return self._block.text(self._line_idx)[:_SHOWN_CHARS]


def _trimmed_names(fields: Sequence[str]) -> set[str]:
    return {text for field in fields for text in (field, field.strip())}


def _without_hash(fields: list[str]) -> list[str]:
    """Fields of a header that begins with ``#``, such as ``#user,item``."""
    return [fields[0].lstrip("# "), *fields[1:]]


def _is_value(text: str) -> bool:
    return bool(_NUMBER.match(text) or _DATE.match(text))


def _text(field: bytes) -> str:
    return field.decode("utf-8", "replace")
