"""Streaming of the rows of SQL queries; columns keep the names of the source."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any, Final

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from chronotope.contracts.errors import SourceError
from chronotope.datasets.columns import check_columns
from chronotope.datasets.database_values import load_unreadable_times, to_record_batch
from chronotope.datasets.table_spec import FeedSpec, SourceLimits, TableSpec
from chronotope.runtime.allowed_paths import require_allowed_path
from chronotope.runtime.store_urls import redact_password, with_driver

MAX_FETCHED_ROWS: Final = 50_000
"""Maximum rows fetched at a time: as Python objects they take many times the memory of Arrow."""

_PARAMETER: Final = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")
"""What SQLAlchemy would take for a parameter."""

_UNTYPED: Final = sa.types.NullType()
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_PARTS: Final = re.compile(r"(?P<scheme>[\w+.-]+://)(?P<account>[^/?#]*@)?(?P<rest>.*)", re.DOTALL)
_TIMEOUT_OPTIONS: Final = {
    "psycopg": "connect_timeout",
    "psycopg2": "connect_timeout",
    "pymysql": "connect_timeout",
    "mysqldb": "connect_timeout",
    "pg8000": "timeout",
    "pysqlite": "timeout",
}
"""Option of each driver that limits the connection time, s; of SQLite, the wait for a lock."""


def stream_query(table_spec: TableSpec, *, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Read the needed columns of a query in batches, with a server-side cursor.

    Args:
        table_spec: Database URL, query, columns and limits.
        batch_rows: Maximum number of rows of a batch.

    Raises:
        SourceError: The database cannot be reached, refuses the query or takes too long.
        SchemaError: The query does not return the needed columns.
        ConfigError: A database file lies outside the folders that flows may use.
    """
    n_rows = min(batch_rows, MAX_FETCHED_ROWS)
    with _connect(expand_url(table_spec.url or ""), table_spec.limits) as database_connection:
        streaming_connection = database_connection.execution_options(yield_per=n_rows)
        with _time_limit(database_connection, table_spec.limits):
            result = streaming_connection.execute(_literal_query(table_spec.query or ""))
        check_columns(table_spec, list(result.keys()), "the query")
        row_partitions = result.columns(*table_spec.needed).partitions(n_rows)
        while True:
            with _time_limit(database_connection, table_spec.limits):
                partition_rows = next(row_partitions, None)
            if partition_rows is None:
                return
            yield to_record_batch(table_spec.needed, partition_rows)


def rows_since(
    feed: FeedSpec, url: str, since_value: int | float | str | None, max_rows: int
) -> pa.RecordBatch | None:
    """Read the rows of a feed from a cursor value on, ordered by the cursor column.

    Args:
        feed: Query, columns, and the cursor column.
        url: URL of the database. $VARIABLES are expanded in the URL of the YAML; the URL of a
            Prefect block is used unchanged.
        since_value: Smallest cursor value to read; None reads from the beginning.
        max_rows: Maximum number of rows.

    Returns:
        The rows, or None if there are none.

    Raises:
        SourceError: The database cannot be reached, refuses the query, takes too long or has
            no such column.
        ConfigError: A database file lies outside the folders that flows may use.
    """
    feed_query = (
        _literal_query(feed.query or "").columns(*map(sa.column, feed.needed)).subquery("feed")
    )
    cursor_column = feed_query.c[feed.after]
    # Untyped parameter: the database compares it in the type of the column.
    cursor_condition = (
        cursor_column.is_not(None)
        if since_value is None
        else cursor_column >= sa.bindparam(None, since_value, _UNTYPED)
    )
    database_url = expand_url(url) if feed.block is None else url
    with (
        _connect(database_url, feed.limits) as database_connection,
        _time_limit(database_connection, feed.limits),
    ):
        page_query = (
            sa.select(feed_query).where(cursor_condition).order_by(cursor_column).limit(max_rows)
        )
        page_rows = database_connection.execute(page_query).fetchall()
    return to_record_batch(feed.needed, page_rows) if page_rows else None


def expand_url(url: str) -> str:
    """Expand environment variables in a database URL.

    A variable may stand for the whole URL, its credentials, or part of an SQLite path. In other
    parts it is rejected: it could send values of the environment to a host named in the YAML.

    Raises:
        SourceError: A variable is not set, or occurs in another part.
    """
    if _VARIABLE.fullmatch(url):
        return _expand(url)
    url_parts = _PARTS.fullmatch(url)
    if url_parts is None:
        raise _stray_variable(url) if _VARIABLE.search(url) else _invalid_url(url)
    url_scheme, user_part, host_part = (
        url_parts["scheme"],
        url_parts["account"] or "",
        url_parts["rest"],
    )
    if url_scheme.startswith("sqlite"):
        return url_scheme + _expand(user_part + host_part)
    if _VARIABLE.search(host_part):
        raise _stray_variable(url)
    return url_scheme + _expand(user_part) + host_part


def sqlite_file(url: str) -> Path | None:
    """File of an SQLite database; None for other databases and for one in memory."""
    with suppress(SQLAlchemyError, ValueError):
        parsed_url = sa.make_url(url)
        if parsed_url.get_backend_name() == "sqlite" and parsed_url.database not in (
            None,
            "",
            ":memory:",
        ):
            return Path(str(parsed_url.database))
    return None


@contextmanager
def _connect(url: str, limits: SourceLimits) -> Iterator[sa.Connection]:
    """Database connection; messages of errors do not contain the password."""
    driver_url = with_driver(url)
    try:
        _require_sqlite_file(driver_url)
        engine = _engine(driver_url, limits)
        try:
            with engine.connect() as database_connection:
                _bound_statements(database_connection, limits)
                yield database_connection
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        raise SourceError(
            "The database refused the connection or the query",
            received=redact_password(str(error), driver_url),
            way_out="Check url and query in the dataset's YAML, and that the database driver is "
            "installed",
        ) from None  # the message of the cause may contain the password


def _engine(driver_url: str, limits: SourceLimits) -> sa.Engine:
    try:
        parsed_url = sa.make_url(driver_url)
    except ValueError:  # such as a port that is not a number
        raise _invalid_url(driver_url) from None
    timeout_option = _TIMEOUT_OPTIONS.get(parsed_url.get_dialect().driver)
    is_set = timeout_option is None or timeout_option in parsed_url.query
    connect_args = {} if is_set else {timeout_option: max(1, round(limits.timeout_s))}
    return sa.create_engine(parsed_url, connect_args=connect_args)


def _bound_statements(connection: sa.Connection, source_limits: SourceLimits) -> None:
    """Set a statement timeout on the server, which works even after this process has ended."""
    if connection.dialect.name == "postgresql":
        bound_ms = max(1, round(1_000 * source_limits.total_timeout_s))
        connection.exec_driver_sql(f"SET statement_timeout = {bound_ms}")
    if connection.dialect.driver == "psycopg":
        load_unreadable_times(connection.connection.driver_connection)


@contextmanager
def _time_limit(connection: sa.Connection, source_limits: SourceLimits) -> Iterator[None]:
    """Context that interrupts the queries of its block after a time limit.

    Raises:
        SourceError: The queries exceeded the time limit.
    """
    interrupt_calls: list[bool] = []

    def interrupt() -> None:
        interrupt_calls.append(True)
        driver_connection: Any = connection.connection.driver_connection
        stop_statement = getattr(driver_connection, "interrupt", None) or getattr(
            driver_connection, "cancel", None
        )
        if stop_statement is not None:
            with suppress(Exception):  # the connection may be closed at the same time
                stop_statement()

    interrupt_timer = Timer(source_limits.total_timeout_s, interrupt)
    interrupt_timer.daemon = True
    interrupt_timer.start()
    try:
        yield
    except SQLAlchemyError as error:
        if not interrupt_calls and "statement timeout" not in str(error):
            raise
        raise SourceError(
            f"The database returned no rows within {source_limits.total_timeout_s:g} s",
            way_out="Make the query faster, or raise limits.total_timeout_s in the dataset's YAML",
        ) from None
    finally:
        interrupt_timer.cancel()


def _expand(text: str) -> str:
    missing_variables = [
        braced_name or bare_name
        for braced_name, bare_name in _VARIABLE.findall(text)
        if (braced_name or bare_name) not in os.environ
    ]
    if missing_variables:
        raise SourceError(
            "An environment variable in the database URL is not set",
            received=", ".join(missing_variables),
            way_out="Set the variable in the environment of this process",
        )
    return os.path.expandvars(text)


def _stray_variable(url: str) -> SourceError:
    return SourceError(
        "A $VARIABLE is not allowed in this part of a database URL",
        received=redact_password(url, url),
        way_out="Use a $VARIABLE for the whole URL, its user or its password",
    )


def _invalid_url(url: str) -> SourceError:
    return SourceError(
        "Not a database URL",
        received=redact_password(url, url),
        way_out="Write url in the format of SQLAlchemy, such as postgresql://db/shop",
    )


def _require_sqlite_file(driver_url: str) -> None:
    """Reject a missing SQLite file, which SQLite would create as an empty database."""
    database_path = sqlite_file(driver_url)
    if database_path is None:
        return
    if not require_allowed_path(database_path).is_file():
        raise SourceError(
            "The SQLite database file does not exist",
            received=database_path,
            way_out="Correct url in the dataset's YAML",
        )


def _literal_query(query: str) -> sa.TextClause:
    """Statement in which a colon is no parameter, as in ``'{"a":1}'``."""
    return sa.text(_PARAMETER.sub(r"\\:\1", query))
