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


def read_columns(frame: Frame, columns: ColumnMap, subject: str) -> pa.Table:
    """The mapped columns of a data frame, renamed; only they are converted.

    Args:
        frame: The data frame.
        columns: Contract column to column of the frame.
        subject: What the frame holds, for messages, such as "log".

    Raises:
        ConfigError: It is no data frame.
        SchemaError: A column is missing, occurs twice, or mixes types.
        NotEnoughData: The frame has no rows.
    """
    names = column_names(frame)
    _require_columns(names, columns, subject)
    table = _pandas_table(frame, columns) if is_pandas(frame) else _arrow_table(frame, columns)
    if not len(table):
        raise NotEnoughData(
            f"The frame of the {subject} has no rows",
            received=f"columns {', '.join(names)}",
            way_out="Check the query or the filter that made it",
        )
    return table


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
    columns = getattr(frame, "columns", None)
    if columns is None:
        return list(pa.RecordBatchReader.from_stream(frame).schema.names)
    return [str(name) for name in columns]


def is_pandas(frame: object) -> bool:
    """Whether a frame is one of pandas, which is not imported for the answer."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(frame, pandas.DataFrame)


def _require_columns(names: Sequence[str], columns: ColumnMap, subject: str) -> None:
    for contract_name, name in columns.items():
        if not isinstance(name, str):
            raise ConfigError(
                f"{contract_name} of the {subject} must be the name of a column",
                received=repr(name),
                way_out="Pass its name as a string",
            )
        n_found = names.count(name)
        if n_found == 1:
            continue
        if n_found:
            raise SchemaError(
                f"The frame of the {subject} has {n_found} columns called {name!r}",
                received=f"columns {', '.join(names)}",
                way_out="Rename or drop all but one",
            )
        alike = difflib.get_close_matches(name, names, 1)
        raise SchemaError(
            f"The frame of the {subject} has no column {name!r}, named as {contract_name}",
            received=f"columns {', '.join(names) or 'none'}",
            way_out=f"Did you mean {alike[0]!r}?" if alike else "Pass the name of one of these",
        )


def _pandas_table(frame: Any, columns: ColumnMap) -> pa.Table:
    """Columns of a pandas frame, one by one, so that an error can name its column."""
    arrays = {
        contract_name: _pandas_array(frame[name], name) for contract_name, name in columns.items()
    }
    return pa.table(arrays)


def _pandas_array(series: Any, name: str) -> pa.ChunkedArray:
    try:
        return pa.chunked_array(series)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        kinds = sorted({type(value).__name__ for value in series.dropna().head(_SAMPLE_ROWS)})
        raise SchemaError(
            f"Column {name!r} mixes values of several types",
            received=", ".join(kinds) or error,
            way_out=f"Convert it to one type, as with df[{name!r}].astype(str) for ids or "
            f"pandas.to_datetime(df[{name!r}], utc=True) for times",
        ) from error


def _arrow_table(frame: Frame, columns: ColumnMap) -> pa.Table:
    table = frame if isinstance(frame, pa.Table) else pa.table(frame)
    return table.select(list(columns.values())).rename_columns(list(columns))
