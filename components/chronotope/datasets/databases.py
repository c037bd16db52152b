"""Read the rows of a SQL query as they are, under their source names."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any, Final

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from chronotope.contracts.errors import SourceError
from chronotope.datasets.columns import check_columns
from chronotope.datasets.spec import FeedSpec, SourceLimits, TableSpec
from chronotope.runtime.allowed_paths import require_allowed_path
from chronotope.runtime.store_urls import redact_password, with_driver

MAX_FETCHED_ROWS: Final = 50_000
"""Rows that are Python's objects at one time, each many times as large as in Arrow."""

_UNTYPED: Final = sa.types.NullType()
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_PARTS: Final = re.compile(r"(?P<scheme>[\w+.-]+://)(?P<account>[^/?#]*@)?(?P<rest>.*)", re.DOTALL)
_CONNECTING: Final = {
    "psycopg": "connect_timeout",
    "psycopg2": "connect_timeout",
    "pymysql": "connect_timeout",
    "mysqldb": "connect_timeout",
    "pg8000": "timeout",
    "pysqlite": "timeout",
}
"""How a driver calls the seconds until it is connected; of SQLite, until nobody else writes."""


def stream_query(table: TableSpec, *, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of the needed columns of a query, fetched with a server-side cursor.

    Raises:
        SourceError: The database cannot be reached, refuses the query or takes too long.
        SchemaError: The query does not return the needed columns.
        ConfigError: A database file lies outside the folders that flows may use.
    """
    n_rows = min(batch_rows, MAX_FETCHED_ROWS)
    with _connected(expanded(table.url or ""), table.limits) as connection:
        streamed = connection.execution_options(yield_per=n_rows)
        with _in_time(connection, table.limits):
            result = streamed.execute(sa.text(table.query or ""))
        check_columns(table, list(result.keys()), "the query")
        parts = result.columns(*table.needed).partitions(n_rows)
        while True:
            with _in_time(connection, table.limits):
                rows = next(parts, None)
            if rows is None:
                return
            yield _batch(table.needed, rows)


def rows_since(
    feed: FeedSpec, url: str, since: int | float | str | None, limit: int
) -> pa.RecordBatch | None:
    """Rows whose growing column is not below a value, in its order; None if there are none.

    Args:
        feed: Query, columns, and the column that grows.
        url: Address of the database. $VARIABLES are expanded in the one of the YAML; one out
            of a block is used as it stands.
        since: Value as ``feedback.table`` keeps it; None reads from the beginning.
        limit: Most rows.

    Raises:
        SourceError: The database cannot be reached, refuses the query, takes too long or finds
            no such column.
        ConfigError: A database file lies outside the folders that flows may use.
    """
    asked = sa.text(feed.query or "").columns(*map(sa.column, feed.needed)).subquery("feed")
    grows = asked.c[feed.after]
    # No type is told, so that the database compares by the column's own.
    bound = grows.is_not(None) if since is None else grows >= sa.bindparam(None, since, _UNTYPED)
    address = expanded(url) if feed.block is None else url
    with _connected(address, feed.limits) as connection, _in_time(connection, feed.limits):
        wanted = sa.select(asked).where(bound).order_by(grows).limit(limit)
        rows = connection.execute(wanted).fetchall()
    return _batch(feed.needed, rows) if rows else None


def expanded(url: str) -> str:
    """An address with its variables: as a whole, in user and password, in an SQLite path.

    Nowhere else, so that nothing of the environment is sent to a host that a YAML names.

    Raises:
        SourceError: A variable is not set, or stands in another part.
    """
    if _VARIABLE.fullmatch(url):
        return _expand(url)
    parts = _PARTS.fullmatch(url)
    if parts is None:
        raise _stray_variable(url) if _VARIABLE.search(url) else _no_address(url)
    scheme, account, rest = parts["scheme"], parts["account"] or "", parts["rest"]
    if scheme.startswith("sqlite"):
        return scheme + _expand(account + rest)
    if _VARIABLE.search(rest):
        raise _stray_variable(url)
    return scheme + _expand(account) + rest


def sqlite_file(url: str) -> Path | None:
    """The file of a database of SQLite; None if it is another one, or has no file."""
    with suppress(SQLAlchemyError, ValueError):
        parts = sa.make_url(url)
        if parts.get_backend_name() == "sqlite" and parts.database not in (None, "", ":memory:"):
            return Path(str(parts.database))
    return None


@contextmanager
def _connected(url: str, limits: SourceLimits) -> Iterator[sa.Connection]:
    """A connection; what the database refuses is told without its password."""
    address = with_driver(url)
    try:
        _require_sqlite_file(address)
        engine = _engine(address, limits)
        try:
            with engine.connect() as connection:
                _bound_statements(connection, limits)
                yield connection
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        raise SourceError(
            "The database refused",
            received=redact_password(str(error), address),
            way_out="Check url and query in the dataset's YAML, and that its driver is installed",
        ) from None  # what lies below may tell the password


def _engine(address: str, limits: SourceLimits) -> sa.Engine:
    try:
        url = sa.make_url(address)
    except ValueError:  # such as a port that is no number
        raise _no_address(address) from None
    name = _CONNECTING.get(url.get_dialect().driver)
    is_set = name is None or name in url.query
    connect_args = {} if is_set else {name: max(1, round(limits.timeout_s))}
    return sa.create_engine(url, connect_args=connect_args)


def _bound_statements(connection: sa.Connection, limits: SourceLimits) -> None:
    """Let the server end what takes too long, also if we are gone by then."""
    if connection.dialect.name == "postgresql":
        bound_ms = max(1, round(1_000 * limits.total_timeout_s))
        connection.exec_driver_sql(f"SET statement_timeout = {bound_ms}")


@contextmanager
def _in_time(connection: sa.Connection, limits: SourceLimits) -> Iterator[None]:
    """Interrupt what the block asks of the database when it takes too long.

    Raises:
        SourceError: It did.
    """
    interrupted: list[bool] = []

    def interrupt() -> None:
        interrupted.append(True)
        driver: Any = connection.connection.driver_connection
        stop = getattr(driver, "interrupt", None) or getattr(driver, "cancel", None)
        if stop is not None:
            with suppress(Exception):  # the connection may be closed in this moment
                stop()

    timer = Timer(limits.total_timeout_s, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    except SQLAlchemyError as error:
        if not interrupted and "statement timeout" not in str(error):
            raise
        raise SourceError(
            f"The database gave no rows within {limits.total_timeout_s:g} s",
            way_out="Make the query cheaper, or raise limits: total_timeout_s in the YAML",
        ) from None
    finally:
        timer.cancel()


def _expand(text: str) -> str:
    missing = [a or b for a, b in _VARIABLE.findall(text) if (a or b) not in os.environ]
    if missing:
        raise SourceError(
            "The address of the database stands in a variable that is not set",
            received=", ".join(missing),
            way_out="Set it in the environment of whoever runs this",
        )
    return os.path.expandvars(text)


def _stray_variable(url: str) -> SourceError:
    return SourceError(
        "A variable stands in the wrong part of the address of a database",
        received=redact_password(url, url),
        way_out="A $VARIABLE may be the whole address, its user or its password",
    )


def _no_address(url: str) -> SourceError:
    return SourceError(
        "This is no address of a database",
        received=redact_password(url, url),
        way_out="Write url as SQLAlchemy reads it, such as postgresql://db/shop",
    )


def _require_sqlite_file(address: str) -> None:
    """SQLite would create an empty database where there is none."""
    path = sqlite_file(address)
    if path is None:
        return
    if not require_allowed_path(path).is_file():
        raise SourceError("No such database file", received=path, way_out="Correct url")


def _batch(names: Sequence[str], rows: Sequence[Sequence[object]]) -> pa.RecordBatch:
    columns = [_column(values) for values in zip(*rows, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=list(names))


def _column(values: Sequence[object]) -> pa.Array:
    """One column; as text if its values are of several types, which SQLite allows."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeError):
        return pa.array([None if value is None else _as_text(value) for value in values])


def _as_text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode("utf-8")
