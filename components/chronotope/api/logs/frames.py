"""Columns of a user's data frame as Arrow, under the names of the data contract.

pandas, polars, Arrow, DuckDB and others export Arrow without a copy where their memory layout
allows it (the PyCapsule interface, ``__arrow_c_stream__``), so no library of adapters is needed.
"""

import difflib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import pyarrow as pa

from chronotope.contracts.errors import ConfigError, NotEnoughData, SchemaError

_SAMPLE_ROWS: Final = 10_000
"""Rows in which the types of a column of Python objects are looked up, for a message."""


@runtime_checkable
class ArrowExportable(Protocol):
    """A data frame that exports Arrow: pandas, polars, pyarrow, DuckDB and others."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Stream of its record batches."""


Frame: TypeAlias = ArrowExportable
"""A data frame of any library that exports Arrow."""

ColumnMap: TypeAlias = Mapping[str, str]
"""Mapping from a contract column to a column of the frame."""


def read_columns(frame: Frame, column_map: ColumnMap, frame_subject: str) -> pa.Table:
    """The mapped columns of a data frame, renamed; only they are converted.

    Args:
        frame: The data frame.
        column_map: Contract column to column of the frame.
        frame_subject: What the frame holds, for messages, such as "log".

    Raises:
        ConfigError: It is no data frame.
        SchemaError: A column is missing, occurs twice, or mixes types.
        NotEnoughData: The frame has no rows.
    """
    frame_columns = column_names(frame)
    _require_columns(frame_columns, column_map, frame_subject)
    frame_rows = (
        _pandas_table(frame, column_map) if is_pandas(frame) else _arrow_table(frame, column_map)
    )
    if not len(frame_rows):
        raise NotEnoughData(
            f"The frame of the {frame_subject} has no rows",
            received=f"columns {', '.join(frame_columns)}",
            way_out="Check the query or the filter that made it",
        )
    return frame_rows


def column_names(frame: object) -> list[str]:
    """Names of the columns of a data frame.

    Raises:
        ConfigError: It is no data frame.
    """
    if isinstance(frame, pa.Table | pa.RecordBatch):
        return list(frame.schema.names)
    if not isinstance(frame, ArrowExportable):
        is_lazy = hasattr(frame, "collect")
        raise ConfigError(
            "A data frame of pandas, polars, Arrow or another library that exports Arrow is needed",
            received=type(frame),
            way_out="Call its collect() first" if is_lazy else "Build a pandas.DataFrame of it",
        )
    column_map = getattr(frame, "columns", None)
    if column_map is None:
        return list(pa.RecordBatchReader.from_stream(frame).schema.names)
    return [str(column_name) for column_name in column_map]


def is_pandas(frame: object) -> bool:
    """Whether a frame is one of pandas, which is not imported for the answer."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(frame, pandas.DataFrame)


def _require_columns(
    frame_columns: Sequence[str], column_map: ColumnMap, frame_subject: str
) -> None:
    for contract_name, column_name in column_map.items():
        if not isinstance(column_name, str):
            raise ConfigError(
                f"{contract_name} of the {frame_subject} must be the name of a column",
                received=repr(column_name),
                way_out="Pass its name as a string",
            )
        n_found = frame_columns.count(column_name)
        if n_found == 1:
            continue
        if n_found:
            raise SchemaError(
                f"The frame of the {frame_subject} has {n_found} columns called {column_name!r}",
                received=f"columns {', '.join(frame_columns)}",
                way_out="Rename or drop all but one",
            )
        similar_names = difflib.get_close_matches(column_name, frame_columns, 1)
        raise SchemaError(
            f"The frame of the {frame_subject} has no column {column_name!r} ({contract_name})",
            received=f"columns {', '.join(frame_columns) or 'none'}",
            way_out=f"Did you mean {similar_names[0]!r}?"
            if similar_names
            else "Pass the name of one of these",
        )


def _pandas_table(frame: Any, column_map: ColumnMap) -> pa.Table:
    """Columns of a pandas frame, one by one, so that an error can name its column."""
    column_arrays = {
        contract_name: _pandas_array(frame[column_name], column_name)
        for contract_name, column_name in column_map.items()
    }
    return pa.table(column_arrays)


def _pandas_array(frame_series: Any, column_name: str) -> pa.ChunkedArray:
    try:
        if hasattr(frame_series, "__arrow_c_stream__"):
            return pa.chunked_array(frame_series)
        return pa.chunked_array([pa.Array.from_pandas(frame_series)])  # pandas before 3
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as arrow_error:
        value_types = sorted(
            {type(value).__name__ for value in frame_series.dropna().head(_SAMPLE_ROWS)}
        )
        raise SchemaError(
            f"Column {column_name!r} mixes values of several types",
            received=", ".join(value_types) or arrow_error,
            way_out=f"Convert it to one type, as with df[{column_name!r}].astype(str) for ids or "
            f"pandas.to_datetime(df[{column_name!r}], utc=True) for times",
        ) from arrow_error


def _arrow_table(frame: Frame, column_map: ColumnMap) -> pa.Table:
    frame_rows = frame if isinstance(frame, pa.Table) else pa.table(frame)
    return frame_rows.select(list(column_map.values())).rename_columns(list(column_map))


def column_types(raw_rows: pa.Table, column_names: Sequence[str]) -> dict[str, pa.DataType]:
    """Types of those columns that a table has.

    Args:
        raw_rows: The table.
        column_names: Names of columns.
    """
    return {name: raw_rows[name].type for name in column_names if name in raw_rows.column_names}
