"""Streaming of JSON: one object a line, or one array of objects; numbers keep their text."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from chronotope.contracts.errors import SourceError
from chronotope.datasets.columns import check_columns
from chronotope.datasets.files.decompression import buffered, open_decompressed
from chronotope.datasets.files.file_signatures import HEAD_BYTES, require_text
from chronotope.datasets.files.line_accounting import FileAccount, SourceReport, file_account
from chronotope.datasets.files.text_lines import (
    READ_BYTES,
    UNDECODABLE,
    UNDECODABLE_BYTES,
    LineBlock,
    LineReader,
)
from chronotope.datasets.table_spec import TableSpec

_DECODER: Final = json.JSONDecoder(
    # The text of a number is its value: 64-bit floats would change long ids.
    parse_int=str,
    parse_float=str,
    parse_constant=str,
)
_BLANKS: Final = " \t\r\n"
_MAX_OBJECT_CHARS: Final = 16 << 20

JsonRow = dict[str, Any]


def stream_json(
    table_spec: TableSpec,
    file_path: Path,
    source_report: SourceReport | None = None,
    *,
    read_bytes: int = READ_BYTES,
) -> Iterator[pa.RecordBatch]:
    """Read the needed columns of a JSON file in batches; every column is text.

    A dotted column name such as ``user.id`` is a field of a nested object. A missing key is null.

    Args:
        table_spec: Encoding, columns and limits.
        file_path: Path of the file; its first bytes tell the compression.
        source_report: Report that gets the counts of lines and the refused lines; None if nobody
            stores them, so that the first refused line is an error.
        read_bytes: Number of bytes that are read and parsed at a time.

    Raises:
        SourceError: The file is no JSON, cut short or too large, or too many lines are refused.
        SchemaError: A column is in none of the objects.
        OSError, ValueError: The file cannot be read.
    """
    with (
        open_decompressed(file_path, table_spec.limits.max_bytes) as byte_reader,
        file_account(file_path, table_spec, source_report) as account,
    ):
        head = byte_reader.read(HEAD_BYTES)
        require_text(head, file_path, "json")
        line_reader = LineReader(
            buffered(byte_reader, head), table_spec.encoding, file_path, read_bytes
        )
        column_seen = dict.fromkeys(table_spec.needed, False)
        first_object: JsonRow = {}
        for json_objects in _object_lists(line_reader, account, table_spec.encoding, file_path):
            first_object = first_object or json_objects[0]
            yield _text_columns(json_objects, column_seen)
        if account.counts.n_rows:
            seen_columns = [name for name, is_seen in column_seen.items() if is_seen]
            check_columns(table_spec, [*seen_columns, *_dotted_names(first_object)], file_path)


def _object_lists(
    line_reader: LineReader, account: FileAccount, encoding: str, file_path: Path
) -> Iterator[list[JsonRow]]:
    if line_reader.head.lstrip().startswith(b"["):
        yield from _array_objects(line_reader, account, file_path)
        return
    for block in line_reader.blocks():
        json_objects = _line_objects(block, account, encoding)
        if json_objects:
            yield json_objects


def _line_objects(block: LineBlock, account: FileAccount, encoding: str) -> list[JsonRow]:
    """Objects of a block of lines: parsed together, or one by one if any line is no object."""
    lines = [block.line(line_idx) for line_idx in range(len(block))]
    filled_lines = [line for line in lines if line.strip()]
    account.counts.n_lines += len(lines)
    account.counts.n_blank += len(lines) - len(filled_lines)
    json_objects = _parsed_together(filled_lines)
    refused: list[tuple[int, str]] = []
    if json_objects is None:
        json_objects = []
        for line_idx, line in enumerate(lines):
            if line.strip():
                row_or_reason = _parsed_line(line, encoding)
                if isinstance(row_or_reason, str):
                    refused.append((line_idx, row_or_reason))
                else:
                    json_objects.append(row_or_reason)
    account.counts.n_rows += len(json_objects)
    account.counts.n_row_lines += len(json_objects)
    for line_idx, reason in refused:
        account.refuse(block.first_line + line_idx, block.text(line_idx), reason)
    return json_objects


def _parsed_together(lines: Sequence[bytes]) -> list[JsonRow] | None:
    """Objects of lines; None if one of them is not exactly one valid object.

    Each line is a list of its own: no text can close its list and open another, and still leave
    the number of lists and of their values right, but for one that is made for it.
    """
    json_text = b"[[" + b"],[".join(lines) + b"]]" if lines else b"[]"
    if UNDECODABLE_BYTES in json_text or _has_surrogates(json_text):
        return None
    try:
        values = _DECODER.decode(json_text.decode())
    except (ValueError, RecursionError):
        return None
    is_valid = len(values) == len(lines) and all(
        len(json_value) == 1 and type(json_value[0]) is dict for json_value in values
    )
    return [json_value[0] for json_value in values] if is_valid else None


def _has_surrogates(json_text: bytes) -> bool:
    """Whether a JSON text has escapes of surrogates, which may lack their other half."""
    return b"\\ud" in json_text or b"\\uD" in json_text


def _parsed_line(line: bytes, encoding: str) -> JsonRow | str:
    """The object of a line, or the reason why it has none."""
    if UNDECODABLE_BYTES in line:
        return f"bytes that are not text in the encoding {encoding}"
    try:
        json_value = _DECODER.decode(line.decode())
        if _has_surrogates(line):
            json.dumps(json_value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "JSON with half of a surrogate pair, which is no text"
    except (ValueError, RecursionError) as error:
        return f"no valid JSON ({error})"
    return json_value if type(json_value) is dict else "JSON, but no object"


def _array_objects(
    line_reader: LineReader, account: FileAccount, file_path: Path
) -> Iterator[list[JsonRow]]:
    """Objects of one array, which may be on one line or on many; all lines belong to rows."""
    array_parser = _ArrayParser(file_path)
    n_breaks, last_text = 0, ""
    for json_text in line_reader.texts():
        json_objects = array_parser.feed(json_text)
        n_breaks += json_text.count("\n")
        last_text = json_text or last_text
        account.counts.n_rows += len(json_objects)
        if json_objects:
            yield json_objects
    array_parser.close()
    account.counts.n_lines = n_breaks + (not last_text.endswith("\n"))
    account.counts.n_row_lines = account.counts.n_lines


class _ArrayParser:
    """Incremental parser of one array of objects."""

    def __init__(self, file_path: Path) -> None:
        self._path, self._text = file_path, ""
        self._expected = "["  # then { or ], then , or ], then nothing
        self._n_objects = 0

    def feed(self, json_text: str) -> list[JsonRow]:
        """Objects that are complete with some more text.

        Raises:
            SourceError: An element is no object, or longer than the bound.
        """
        if UNDECODABLE in json_text:
            raise SourceError(
                f"{self._path} is not text in the configured encoding",
                received=repr(json_text[max(0, json_text.index(UNDECODABLE) - 40) :][:80]),
                way_out="Set encoding in the dataset's YAML, for example to latin-1 or utf-16",
            )
        json_text = self._text + json_text
        text_position, json_objects = _skip_blanks(json_text, 0), []
        while text_position < len(json_text):
            if json_text[text_position] not in self._expected:
                raise self._broken(json_text, text_position)
            if json_text[text_position] == "{":
                try:
                    row, text_position = _DECODER.raw_decode(json_text, text_position)
                except (ValueError, RecursionError) as error:
                    if len(json_text) - text_position > _MAX_OBJECT_CHARS:
                        raise self._broken(json_text, text_position) from error
                    break  # the object may go on in the next piece
                json_objects.append(row)
                self._n_objects += 1
                self._expected = ",]"
            else:
                self._expected = {"[": "{]", ",": "{", "]": ""}[json_text[text_position]]
                text_position += 1
            text_position = _skip_blanks(json_text, text_position)
        self._text = json_text[text_position:]
        return json_objects

    def close(self) -> None:
        """Check that the array is complete.

        Raises:
            SourceError: It is not.
        """
        if self._expected:
            raise self._broken(self._text, 0)

    def _broken(self, json_text: str, text_position: int) -> SourceError:
        return SourceError(
            f"The JSON array of {self._path} is cut short or broken after element "
            f"{self._n_objects:,}",
            received=repr(json_text[text_position : text_position + 80]),
            way_out="Correct the file, or store one object a line, of which broken lines can be "
            "refused alone",
        )


def _skip_blanks(json_text: str, text_position: int) -> int:
    while text_position < len(json_text) and json_text[text_position] in _BLANKS:
        text_position += 1
    return text_position


def _text_columns(json_objects: list[JsonRow], column_seen: dict[str, bool]) -> pa.RecordBatch:
    """The needed columns as texts; ``column_seen`` is set for those that any object has."""
    columns = []
    for name in column_seen:
        values = [_value(row, name) for row in json_objects]
        column_seen[name] |= any(json_value is not None for json_value in values) or any(
            _has(row, name) for row in json_objects
        )
        columns.append(pa.array([_as_text(json_value) for json_value in values], pa.string()))
    return pa.RecordBatch.from_arrays(
        columns, schema=pa.schema([pa.field(name, pa.string()) for name in column_seen])
    )


def _value(row: JsonRow, name: str) -> Any:
    """Value of a column; a dotted name is a path unless it is a key itself."""
    if name in row or "." not in name:
        return row.get(name)
    json_value: Any = row
    for key in name.split("."):
        json_value = json_value.get(key) if isinstance(json_value, dict) else None
    return json_value


def _has(row: JsonRow, name: str) -> bool:
    if name in row:
        return True
    *parents, key = name.split(".")
    json_value: Any = row
    for parent in parents:
        json_value = json_value.get(parent) if isinstance(json_value, dict) else None
    return isinstance(json_value, dict) and key in json_value


def _as_text(json_value: Any) -> str | None:
    if json_value is None or type(json_value) is str:
        return json_value or None
    if isinstance(json_value, bool):
        return "true" if json_value else "false"
    return json.dumps(json_value, ensure_ascii=False)


def _dotted_names(row: JsonRow, prefix: str = "") -> list[str]:
    names = []
    for key, json_value in row.items():
        is_nested = isinstance(json_value, dict) and json_value
        names += _dotted_names(json_value, f"{prefix}{key}.") if is_nested else [f"{prefix}{key}"]
    return names
