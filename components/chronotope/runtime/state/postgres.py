"""Postgres connections with the interface of ``sqlite3.Connection`` that the state stores use.

One SQLite file becomes one schema, so the statements of a store are the same in both. What
differs is here: placeholders, column types, one writer at a time, and a server that may restart.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.runtime.store_urls import STATE_URL, redact_password

if TYPE_CHECKING:
    import psycopg

_CONNECT_S: Final = 10
_WAIT_S: Final = 60
"""Wait for the writer of another process, as of SQLite's files."""

_SESSION: Final = {
    "lock_timeout": f"{_WAIT_S}s",
    "idle_session_timeout": "0",  # a training holds its lock for hours and says nothing
    "idle_in_transaction_session_timeout": "300s",  # a stopped writer lets the others go on
    "tcp_keepalives_idle": "30",  # locks of a machine without power are free after a minute
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "default_transaction_isolation": "read committed",  # a statement sees who wrote before it
}
_COLUMN_TYPES: Final = (
    ("INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    (" INTEGER", " BIGINT"),
    (" REAL", " DOUBLE PRECISION"),
)
_IDENTITY: Final = "CREATE TABLE IF NOT EXISTS store_identity (number BIGINT NOT NULL)"
_DRAW: Final = "INSERT INTO store_identity SELECT ? WHERE NOT EXISTS (SELECT 1 FROM store_identity)"
_NAME_CHARS: Final = 63
"""Longest identifier of Postgres."""


class PostgresConnection:
    """Connection to one schema of the state database; connects again when it was lost."""

    def __init__(self, database_url: str, schema_name: str) -> None:
        """Connect; the schema need not exist.

        Args:
            database_url: Address of the database.
            schema_name: Schema that tables without a schema belong to.

        Raises:
            ConfigError: psycopg is not installed.
            StoreError: The server refuses the connection.
        """
        self._database_url, self.schema_name = database_url, schema_name
        self.in_transaction = False
        self._connection = self._new_connection()

    def execute(self, sql_text: str, query_values: Sequence[Any] = (), /) -> "psycopg.Cursor[Any]":
        """Execute a statement with ``?`` as placeholders.

        A lost connection is opened again before the statement. One that is lost during it is
        opened again for a query alone: whether a write was committed is then unknown.

        Raises:
            StoreError: The statement failed.
        """
        sql_statement = sql_text.replace("%", "%%").replace("?", "%s") if query_values else sql_text
        is_query = sql_text.lstrip().startswith("SELECT")
        with self._driver_errors():
            import psycopg

            self._connect_again()
            try:
                return self._connection.execute(sql_statement, query_values or None)
            except psycopg.OperationalError:
                if self.in_transaction or not is_query or not self._connection.closed:
                    raise
                self._connect_again()
                return self._connection.execute(sql_statement, query_values or None)

    def first_value(self, sql_text: str, query_values: Sequence[Any] = ()) -> Any:
        """First column of the first row of a query that has one.

        Raises:
            StoreError: The query failed.
        """
        return self.execute(sql_text, query_values).fetchall()[0][0]

    def executemany(
        self, sql_text: str, value_rows: Iterable[Sequence[Any]], /
    ) -> "psycopg.Cursor[Any]":
        """Execute a statement for each row of values; ``rowcount`` is the sum.

        Raises:
            StoreError: The statement failed.
        """
        with self._driver_errors():
            self._connect_again()
            database_cursor = self._connection.cursor()
            database_cursor.executemany(sql_text.replace("%", "%%").replace("?", "%s"), value_rows)
            return database_cursor

    @contextmanager
    def write_transaction(self) -> Iterator[None]:
        """Transaction of the one writer of the schema.

        The lock is released after the commit is visible, so rows become visible in the order of
        their positions: who has read position n never misses a smaller one.
        """
        self._begin_again()
        try:
            self.execute("SELECT pg_advisory_xact_lock(?)", (lock_number(self.schema_name),))
            yield
            self.execute("COMMIT")
        except BaseException:
            with suppress(StoreError):  # a lost connection has rolled back
                self.execute("ROLLBACK")
            raise
        finally:
            self.in_transaction = False

    def prepare_schema(self, statements: Sequence[str]) -> None:
        """Create the schema and its tables where they are missing.

        The comment of the schema names the statements that made it, so a prepared schema costs
        one query and needs no right to create anything.

        Args:
            statements: CREATE statements in the dialect of SQLite.
        """
        all_statements = (*map(_postgres_types, statements), _IDENTITY)
        schema_mark = hashlib.sha256("\n".join(all_statements).encode()).hexdigest()[:32]
        if self._schema_mark() == schema_mark:
            return
        with self.write_transaction():
            if self._schema_mark() == schema_mark:
                return
            self.execute(f'CREATE SCHEMA IF NOT EXISTS "{self.schema_name}"')
            for sql_statement in all_statements:
                self.execute(sql_statement)
            self.execute(_DRAW, (1 + secrets.randbelow(2**31 - 1),))
            self.execute(f"COMMENT ON SCHEMA \"{self.schema_name}\" IS '{schema_mark}'")

    def schema_exists(self) -> bool:
        """Whether the schema was prepared."""
        return self._schema_mark() is not None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _schema_mark(self) -> str | None:
        query = "SELECT obj_description(to_regnamespace(?), 'pg_namespace')"
        schema_comment = self.first_value(query, (f'"{self.schema_name}"',))
        return None if schema_comment is None else str(schema_comment)

    def _begin_again(self) -> None:
        import psycopg

        with self._driver_errors():
            self._connect_again()
            try:
                self._connection.execute("BEGIN")
            except psycopg.OperationalError:  # the server restarted since the last statement
                self._connect_again()
                self._connection.execute("BEGIN")
        self.in_transaction = True

    def _connect_again(self) -> None:
        if self._connection.closed and not self.in_transaction:
            self._connection = self._new_connection()

    def _new_connection(self) -> "psycopg.Connection[Any]":
        try:
            import psycopg
        except ImportError as error:
            raise ConfigError(
                f"{STATE_URL} needs psycopg",
                received=error,
                way_out="pip install 'chronotope[scale]'",
            ) from error
        with self._driver_errors():
            connection = psycopg.connect(
                self._database_url,
                autocommit=True,
                connect_timeout=_CONNECT_S,
                application_name="chronotope",
            )
            session_settings = {**_SESSION, "search_path": f'"{self.schema_name}"'}
            setting_calls = ", ".join("set_config(%s, %s, false)" for _ in session_settings)
            flat_settings = [text for setting in session_settings.items() for text in setting]
            connection.execute(f"SELECT {setting_calls}", flat_settings)
            connection.execute(
                "SELECT set_config('synchronous_commit', 'on', false) "
                "WHERE current_setting('synchronous_commit') = 'off'"  # acknowledged is durable
            )
            return connection

    @contextmanager
    def _driver_errors(self) -> Iterator[None]:
        """Raise the driver's errors as ``StoreError``, without the password."""
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            driver_message = redact_password(str(error).strip(), self._database_url)
            raise StoreError(
                "The state database cannot be used",
                received=f"{type(error).__name__}: {driver_message}",
                way_out=f"Check that the server of {STATE_URL} runs and lets this user create "
                "schemas, and run again",
            ) from None


def schema_name(*name_parts: str) -> str:
    """Name of a schema; one that is too long for Postgres ends in a digest.

    >>> schema_name("shop", "interactions")
    'chronotope.shop.interactions'
    """
    full_name = ".".join(("chronotope", *name_parts)).replace('"', "")
    if len(full_name.encode()) <= _NAME_CHARS:
        return full_name
    name_digest = hashlib.sha256(full_name.encode()).hexdigest()[:16]
    return f"{full_name.encode()[: _NAME_CHARS - 17].decode(errors='ignore')}.{name_digest}"


def lock_number(lock_name: str) -> int:
    """Key of an advisory lock, 64 bits with a sign."""
    name_digest = hashlib.sha256(f"chronotope {lock_name}".encode()).digest()
    return int.from_bytes(name_digest[:8], "big", signed=True)


def _postgres_types(sql_statement: str) -> str:
    for sqlite_type, postgres_type in _COLUMN_TYPES:
        sql_statement = sql_statement.replace(sqlite_type, postgres_type)
    return sql_statement
