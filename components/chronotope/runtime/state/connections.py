"""Connections to the state stores: a SQLite file, or its schema in Postgres."""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from chronotope.runtime.private_files import immediate_transaction, private_connection
from chronotope.runtime.state.postgres import PostgresConnection, schema_name
from chronotope.runtime.store_urls import state_url

_WAIT_S: Final = 60.0
"""Wait for the write lock of another process."""


class StateCursor(Protocol):
    """Rows of a query, or the number of rows that a statement changed."""

    @property
    def rowcount(self) -> int:
        """Number of changed rows."""

    def fetchone(self) -> Any:
        """The next row; None if there is none."""

    def fetchall(self) -> list[Any]:
        """All remaining rows."""


class StateConnection(Protocol):
    """Connection to one store; ``?`` are the placeholders of its statements."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    def execute(self, sql_text: str, query_values: Sequence[Any] = ..., /) -> StateCursor:
        """Execute a statement."""

    def executemany(self, sql_text: str, value_rows: Iterable[Sequence[Any]], /) -> StateCursor:
        """Execute a statement for each row of values."""

    def close(self) -> None:
        """Close the connection."""


def open_state(
    file_path: Path, schema: Sequence[str], *, synchronous: str = "FULL", journal_mode: str = "WAL"
) -> StateConnection:
    """Open a store, created if it is missing; threads may share the connection.

    Args:
        file_path: The SQLite file; with ``CHRONOTOPE_STATE_URL``, its folder and its name are the
            name of the store, below whatever root.
        schema: CREATE statements of what is missing.
        synchronous: ``FULL``: a commit has reached the disk when it returns; ``NORMAL``: it
            outlives a killed process, not a power failure. Postgres always waits for the disk.
        journal_mode: Journal of the SQLite file (``private_connection``).

    Raises:
        sqlite3.Error: The file is no database, or cannot be written.
        OSError: The file cannot be created.
        StoreError: The server cannot be used.
    """
    if not state_url():
        return private_connection(
            file_path, schema, synchronous=synchronous, journal_mode=journal_mode
        )
    state_connection = _server_connection(file_path)
    try:
        state_connection.prepare_schema(schema)
    except BaseException:
        state_connection.close()
        raise
    return state_connection


def open_existing(file_path: Path) -> StateConnection | None:
    """Open a store that exists; None where there is none.

    Args:
        file_path: The SQLite file, or name of the store.

    Raises:
        sqlite3.Error: The file cannot be opened.
        StoreError: The server cannot be used.
    """
    if not state_url():
        if not file_path.exists():
            return None
        return sqlite3.connect(file_path, timeout=_WAIT_S, isolation_level=None)
    state_connection = _server_connection(file_path)
    if state_connection.schema_exists():
        return state_connection
    state_connection.close()
    return None


def state_exists(file_path: Path) -> bool:
    """Whether a store was created.

    Args:
        file_path: The SQLite file, or name of the store.

    Raises:
        StoreError: The server cannot be used.
    """
    if not state_url():
        return file_path.is_file()
    with closing(_server_connection(file_path)) as state_connection:
        return state_connection.schema_exists()


@contextmanager
def write_transaction(state_connection: StateConnection) -> Iterator[None]:
    """Transaction of the only writer of a store: committed at the end, or rolled back.

    Args:
        state_connection: Connection without a transaction.
    """
    if isinstance(state_connection, PostgresConnection):
        with state_connection.write_transaction():
            yield
    else:
        assert isinstance(state_connection, sqlite3.Connection)  # noqa: S101 - narrows the protocol
        with immediate_transaction(state_connection):
            yield


@contextmanager
def purging_deletes(state_connection: StateConnection, table_name: str) -> Iterator[None]:
    """Leave nothing of the rows that the block deletes in the table's files.

    SQLite overwrites and returns freed pages. Postgres writes the table into a new file; its
    write-ahead log and the backups are the operator's.

    Args:
        state_connection: Connection without a transaction.
        table_name: Table whose rows are deleted.
    """
    is_server = isinstance(state_connection, PostgresConnection)
    if not is_server:
        state_connection.execute("PRAGMA secure_delete = ON")
    yield
    if is_server:
        state_connection.execute(f"VACUUM (FULL) {table_name}")
    else:
        state_connection.execute("VACUUM")
        state_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def store_identity(state_connection: StateConnection) -> int:
    """Number that was drawn at random when the store was created.

    SQLite keeps it as ``user_version``, Postgres in a table.

    Args:
        state_connection: Connection without a transaction.
    """
    if isinstance(state_connection, PostgresConnection):
        return int(state_connection.first_value("SELECT number FROM store_identity"))
    with write_transaction(state_connection):
        (drawn_number,) = state_connection.execute("PRAGMA user_version").fetchone()
        if not drawn_number:
            drawn_number = 1 + secrets.randbelow(2**31 - 1)
            state_connection.execute(f"PRAGMA user_version = {drawn_number}")
    return int(drawn_number)


def _server_connection(file_path: Path) -> PostgresConnection:
    store_schema = schema_name(file_path.parent.name, file_path.stem)
    return PostgresConnection(state_url(), store_schema)
