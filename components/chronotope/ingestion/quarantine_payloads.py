"""JSON payloads of quarantined rows, and their conversion back to rows."""

import json
import math
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.strict_json import JsonObject
from chronotope.contracts.text_arrays import shown_bytes, text_array
from chronotope.datasets.values.id_texts import id_texts

_VALUE_COLUMNS: Final = (c.USER_ID, c.ITEM_ID, c.OCCURRED_AT)


def to_payloads(raw_rows: pa.Table) -> pa.Array:
    """Each row as one JSON object; NaN, infinity and UUIDs, which JSON lacks, become texts."""
    for column_idx, arrow_field in enumerate(raw_rows.schema):
        if pa.types.is_fixed_size_binary(arrow_field.type):
            uuid_texts = id_texts(raw_rows.column(column_idx).combine_chunks()).texts
            raw_rows = raw_rows.set_column(column_idx, arrow_field.name, uuid_texts)
    return pa.array(
        [json.dumps(_json_values(raw_row), default=_json_text) for raw_row in raw_rows.to_pylist()],
        pa.string(),
    )


def payload_rows(payloads: Sequence[str]) -> pa.Table:
    """Quarantined rows as they were read, to be normalised again.

    A refused line of a text file is a row without values, so that it is refused again with its
    text; to read it, correct the YAML and ingest the file again.

    Args:
        payloads: Texts of the column ``payload``.
    """
    raw_rows = [json.loads(payload) for payload in payloads]
    column_names = list(
        dict.fromkeys(column_name for raw_row in raw_rows for column_name in raw_row)
    )
    if "source_line" in column_names:
        column_names = list(dict.fromkeys([*column_names, *_VALUE_COLUMNS]))
    return pa.table(
        {
            column_name: _column([raw_row.get(column_name) for raw_row in raw_rows])
            for column_name in column_names
        }
    )


def _json_values(raw_row: dict[str, Any]) -> JsonObject:
    return {
        column_name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for column_name, value in raw_row.items()
    }


def _json_text(value: object) -> str:
    """Text of a value that JSON lacks; bytes that are not UTF-8 stay refused after a replay."""
    return shown_bytes(value) if isinstance(value, bytes) else str(value)


def _column(column_values: list[Any]) -> pa.Array:
    if all(value is None for value in column_values):
        return pa.nulls(len(column_values), pa.string())
    try:
        return pa.array(column_values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeError):
        # Such as a number beyond 64 bits, or a text that cannot be encoded.
        return text_array([None if value is None else str(value) for value in column_values])
