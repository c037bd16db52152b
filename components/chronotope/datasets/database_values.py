"""Arrow arrays of the values that database drivers return."""

from collections.abc import Sequence
from datetime import time, timedelta
from typing import Any

import pyarrow as pa

from chronotope.contracts.errors import SchemaError

_NESTED = (list, tuple, dict, set)
_TIME_TYPES = ("timestamp", "timestamptz", "date", "interval")


def to_record_batch(
    column_names: Sequence[str], rows: Sequence[Sequence[object]]
) -> pa.RecordBatch:
    """Batch of rows, each column in the type of its values.

    Raises:
        SchemaError: A column holds arrays, records or JSON objects.
    """
    column_arrays = [
        _column(column_name, column_values)
        for column_name, column_values in zip(column_names, zip(*rows, strict=True), strict=True)
    ]
    return pa.RecordBatch.from_arrays(column_arrays, names=list(column_names))


def load_unreadable_times(driver_connection: Any) -> None:
    """Let psycopg return times outside the years 1 to 9999, such as ``infinity``, as text.

    By default it ends the query with an error; as text, the row alone is refused.

    Args:
        driver_connection: Connection of psycopg.
    """
    from psycopg import DataError
    from psycopg.adapt import Loader
    from psycopg.pq import Format

    adapters = driver_connection.adapters
    default_loaders = {
        adapters.types[type_name].oid: adapters.get_loader(
            adapters.types[type_name].oid, Format.TEXT
        )
        for type_name in _TIME_TYPES
    }

    class LenientLoader(Loader):
        def __init__(self, oid: int, connection: Any = None) -> None:
            super().__init__(oid, connection)
            self._loader = default_loaders[oid](oid, connection)

        def load(self, data: Any) -> Any:
            try:
                return self._loader.load(data)
            except DataError:
                return bytes(data).decode()

    for type_name in _TIME_TYPES:
        adapters.register_loader(type_name, LenientLoader)


def _column(column_name: str, column_values: Sequence[object]) -> pa.Array:
    """Arrow array of a column; text if its values have several types, which SQLite allows.

    The array holds bytes if a value is bytes or cannot be encoded: a value is never replaced.
    """
    value_types = set(map(type, column_values))
    if any(issubclass(value_type, _NESTED) for value_type in value_types):
        raise _nested(column_name, column_values)
    if any(issubclass(value_type, time | timedelta) for value_type in value_types):
        return pa.array(map(_as_text, column_values), pa.string())  # Arrow drops their zones
    try:
        column = pa.array(column_values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError, UnicodeError):
        return _mixed_column(column_values)
    return column.cast(pa.string()) if pa.types.is_null(column.type) else column


def _mixed_column(column_values: Sequence[object]) -> pa.Array:
    texts = [value if isinstance(value, bytes) else _as_text(value) for value in column_values]
    try:
        return pa.array(texts, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeError):
        as_bytes = [
            text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
            for text in texts
        ]
        return pa.array(as_bytes, pa.binary())


def _as_text(value: object) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, time) else str(value)


def _nested(column_name: str, column_values: Sequence[object]) -> SchemaError:
    nested_value = next(value for value in column_values if isinstance(value, _NESTED))
    return SchemaError(
        f"Column {column_name!r} cannot be read as text",
        received=f"{type(nested_value).__name__}: {nested_value}",
        way_out="Let the query return one value of an array, a record or a JSON object, such as "
        "tags[1], (pair).x or facts->>'id'",
    )
