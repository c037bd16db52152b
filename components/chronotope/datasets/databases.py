"""Stream the rows of a SQL query as they are, under their source names."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from chronotope.contracts.errors import SourceError
from chronotope.datasets.files import check_columns
from chronotope.datasets.spec import TableSpec


def stream_query(table: TableSpec, *, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of the needed columns of a query, fetched with a server-side cursor.

    Raises:
        SourceError: The database cannot be reached or refuses the query.
        SchemaError: The query does not return the needed columns.
    """
    try:
        with _connected(table.url or "", batch_rows) as connection:
            result = connection.execute(sa.text(table.query or ""))
            check_columns(table, list(result.keys()), "the query")
            for rows in result.columns(*table.needed).partitions(batch_rows):
                yield _batch(table.needed, rows)
    except (SQLAlchemyError, ImportError) as error:
        raise SourceError(
            "The database refused",
            received=error,
            way_out="Check url and query in the dataset's YAML, and that its driver is installed",
        ) from error


@contextmanager
def _connected(url: str, batch_rows: int) -> Iterator[sa.Connection]:
    engine = sa.create_engine(os.path.expandvars(url))
    _require_sqlite_file(engine.url)
    try:
        with engine.connect().execution_options(yield_per=batch_rows) as connection:
            yield connection
    finally:
        engine.dispose()


def _require_sqlite_file(url: sa.URL) -> None:
    """SQLite would create an empty database where there is none."""
    name = url.database
    if url.get_backend_name() == "sqlite" and name and not os.path.isfile(name):  # noqa: PTH113
        raise SourceError("No such database file", received=name, way_out="Correct url")


def _batch(names: Sequence[str], rows: Sequence[Sequence[object]]) -> pa.RecordBatch:
    columns = [_column(values) for values in zip(*rows, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=list(names))


def _column(values: Sequence[object]) -> pa.Array:
    """One column; as text if its values are of several types, which SQLite allows."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values])
