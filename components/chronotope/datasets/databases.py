"""Read the rows of a SQL query as they are, under their source names."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from chronotope.contracts.errors import SourceError
from chronotope.contracts.stores import driven, hidden
from chronotope.datasets.files import check_columns
from chronotope.datasets.spec import FeedSpec, TableSpec

_UNTYPED: Final = sa.types.NullType()
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def stream_query(table: TableSpec, *, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of the needed columns of a query, fetched with a server-side cursor.

    Raises:
        SourceError: The database cannot be reached or refuses the query.
        SchemaError: The query does not return the needed columns.
    """
    with _connected(table.url or "") as connection:
        streamed = connection.execution_options(yield_per=batch_rows)
        result = streamed.execute(sa.text(table.query or ""))
        check_columns(table, list(result.keys()), "the query")
        for rows in result.columns(*table.needed).partitions(batch_rows):
            yield _batch(table.needed, rows)


def rows_from(
    feed: FeedSpec, url: str, since: int | float | str | None, limit: int
) -> pa.RecordBatch | None:
    """Rows whose growing column is not below a value, in its order; None if there are none.

    Args:
        feed: Query, columns, and the column that grows.
        url: Address of the database; $VARIABLES are expanded.
        since: Value as ``feedback.table`` keeps it; None reads from the beginning.
        limit: Most rows.

    Raises:
        SourceError: The database cannot be reached, refuses the query or finds no such column.
    """
    asked = sa.text(feed.query or "").columns(*map(sa.column, feed.needed)).subquery("feed")
    grows = asked.c[feed.after]
    # No type is told, so that the database compares by the column's own.
    bound = grows.is_not(None) if since is None else grows >= sa.bindparam(None, since, _UNTYPED)
    with _connected(url) as connection:
        wanted = sa.select(asked).where(bound).order_by(grows).limit(limit)
        rows = connection.execute(wanted).fetchall()
    return _batch(feed.needed, rows) if rows else None


@contextmanager
def _connected(url: str) -> Iterator[sa.Connection]:
    """A connection; what the database refuses is told without its password."""
    address = driven(_expanded(url))
    try:
        engine = _engine(address)
        _require_sqlite_file(engine.url)
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        raise SourceError(
            "The database refused",
            received=hidden(str(error), address),
            way_out="Check url and query in the dataset's YAML, and that its driver is installed",
        ) from None  # what lies below may tell the password


def _engine(address: str) -> sa.Engine:
    try:
        return sa.create_engine(address)
    except ValueError as error:  # such as a port that is no number
        raise SourceError(
            "The address of the database cannot be read",
            received=hidden(str(error), address),
            way_out="Write it like postgresql://user:password@host:5432/database",
        ) from None


def _expanded(url: str) -> str:
    missing = [a or b for a, b in _VARIABLE.findall(url) if (a or b) not in os.environ]
    if missing:
        raise SourceError(
            "The address of the database stands in a variable that is not set",
            received=", ".join(missing),
            way_out="Set it in the environment of whoever runs this",
        )
    return os.path.expandvars(url)


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
