"""Migration of the state of one root from SQLite and files into the shared Postgres.

Each store is copied in one transaction, compared with its file, and only then closed for writes:
a process that still has the file open gets an error instead of adding rows that nobody reads.
"""

import base64
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.runtime.private_files import immediate_transaction, store_errors
from chronotope.runtime.state.documents import read_document, write_new_document
from chronotope.runtime.state.postgres import PostgresConnection, schema_name
from chronotope.runtime.store_urls import STATE_URL, mask_password, state_url

_WAIT_S: Final = 60.0
_BATCH_ROWS: Final = 10_000
_DIGEST_BYTES: Final = 32
_CLOSED: Final = "closed_for_"
"""Begin of the names of the triggers that refuse writes to a migrated file."""

_MIGRATED: Final = ".migrated"
"""Suffix of migrated documents."""

_STORES: Final = ("data/interactions/*/*.db", "mlruns/promotions.db")
_DOCUMENTS: Final = (
    "data/feedback/*/*.json",
    "data/experiments/*/*.json",
    "data/monitoring/*/interval_levels.json",
    "data/erasures/*/*.json",
    "data/erasures/*/retention.pending",
)
_BINARY_DOCUMENTS: Final = ("data/classifiers/*/*.classifier",)


@dataclass(frozen=True, slots=True)
class MigratedStore:
    """A store of the state and where its rows are.

    Attributes:
        name: Its file, relative to the root.
        n_rows: Rows of the file; 1 for a document.
        is_migrated: Whether the database has them.
    """

    name: str
    n_rows: int
    is_migrated: bool


def plan_migration(root: Path) -> list[MigratedStore]:
    """Stores below a root, and whether they were migrated; changes nothing.

    Args:
        root: Project root.

    Raises:
        ConfigError: ``CHRONOTOPE_STATE_URL`` is not set.
        StoreError: A file cannot be read.
    """
    target_label, plan = _target_label(), []
    for file_path in _matching_files(root, _STORES):
        with (
            store_errors("The file of a store", file_path),
            closing(_open_file(file_path)) as source,
        ):
            n_rows = sum(_n_rows(source, table_name) for table_name in _table_names(source))
            is_migrated = f"'{_closed_message(target_label)}'" in _closing_triggers(source)
            plan.append(MigratedStore(_name(root, file_path), n_rows, is_migrated))
    documents = _matching_files(root, (*_DOCUMENTS, *_BINARY_DOCUMENTS))
    plan.extend(MigratedStore(_name(root, path), 1, is_migrated=False) for path in documents)
    return plan


def migrate_state(root: Path) -> list[MigratedStore]:
    """Copy the stores of a root into the database of ``CHRONOTOPE_STATE_URL``.

    Positions, identities and sequences are those of the files, so that watermarks hold. A
    repetition after a kill goes on where it stopped. No file is deleted.

    Args:
        root: Project root.

    Raises:
        ConfigError: The variable is not set.
        StoreError: The database has other rows of a store, a store was migrated to another
            database, a file cannot be read, or the database cannot be used. Stores that were
            migrated before it stay migrated.
    """
    migrated_stores = []
    for file_path in _matching_files(root, _STORES):
        with store_errors("The file of a store", file_path):
            n_rows = _migrate_store(file_path)
        migrated_stores.append(MigratedStore(_name(root, file_path), n_rows, is_migrated=True))
    for file_path in _matching_files(root, (*_DOCUMENTS, *_BINARY_DOCUMENTS)):
        _migrate_document(file_path)
        migrated_stores.append(MigratedStore(_name(root, file_path), 1, is_migrated=True))
    return migrated_stores


def _migrate_store(file_path: Path) -> int:
    """Copy one SQLite file; returns its number of rows."""
    target_label = _target_label()
    store_schema = schema_name(file_path.parent.name, file_path.stem)
    with closing(_open_file(file_path)) as source, immediate_transaction(source):
        table_names = _table_names(source)
        n_rows = sum(_n_rows(source, table_name) for table_name in table_names)
        closing_triggers = _closing_triggers(source)
        if f"'{_closed_message(target_label)}'" in closing_triggers:
            return n_rows
        if closing_triggers:  # its rows of today are there, not in the file
            raise StoreError(
                "This store was migrated to another database",
                received=file_path,
                way_out=f"Set {STATE_URL} to that database, and move it to another server with "
                "pg_dump",
            )
        with closing(PostgresConnection(state_url(), store_schema)) as target:
            target.prepare_schema(_create_statements(source))
            with target.write_transaction():
                is_new = not any(_n_rows(target, table_name) for table_name in table_names)
                for table_name in table_names:
                    if is_new:
                        _copy_rows(source, target, table_name)
                    _compare_rows(source, target, table_name, file_path)
                if is_new:
                    _copy_identity(source, target)
        for table_name in table_names:
            _close_table(source, table_name, target_label)
    return n_rows


def _copy_rows(source: sqlite3.Connection, target: PostgresConnection, table_name: str) -> None:
    """Copy the rows of a table with their positions, and set its sequence behind them."""
    column_names = _column_names(source, table_name)
    column_list, placeholders = _quoted(*column_names), ", ".join("?" * len(column_names))
    insert_sql = (
        f"INSERT INTO {_quoted(table_name)} ({column_list}) "  # noqa: S608 - quoted
        f"OVERRIDING SYSTEM VALUE VALUES ({placeholders})"
    )
    rows = source.execute(_select_all(source, table_name))
    while batch := rows.fetchmany(_BATCH_ROWS):
        target.executemany(insert_sql, batch)
    if "AUTOINCREMENT" not in _create_table(source, table_name).upper():
        return
    last_position = source.execute(
        "SELECT seq FROM sqlite_sequence WHERE name = ?", (table_name,)
    ).fetchone()
    if last_position is not None and last_position[0] > 0:  # larger than that of deleted rows
        target.execute(
            "SELECT setval(pg_get_serial_sequence(?, ?), ?)",
            (
                f'"{target.schema_name}".{_quoted(table_name)}',
                column_names[0],
                last_position[0],
            ),
        )


def _copy_identity(source: sqlite3.Connection, target: PostgresConnection) -> None:
    """Keep the identity of the store, which watermarks and caches name."""
    (drawn_number,) = source.execute("PRAGMA user_version").fetchone()
    if drawn_number:
        target.execute("UPDATE store_identity SET number = ?", (drawn_number,))


def _compare_rows(
    source: sqlite3.Connection, target: PostgresConnection, table_name: str, file_path: Path
) -> None:
    select_sql = _select_all(source, table_name)
    source_rows = source.execute(select_sql)
    if _rows_digest(source_rows) != _rows_digest(_target_rows(target, select_sql)):
        raise StoreError(
            f"The database of {STATE_URL} has other rows of this store",
            received=f"{file_path}, table {table_name}",
            way_out="Migrate before the first event is posted to the database. To migrate all "
            f'the same, rename the schema "{target.schema_name}" and run again',
        )


def _target_rows(target: PostgresConnection, select_sql: str) -> Iterator[Sequence[Any]]:
    target.execute(f"DECLARE all_rows NO SCROLL CURSOR FOR {select_sql}")
    while batch := target.execute(f"FETCH {_BATCH_ROWS} FROM all_rows").fetchall():
        yield from batch
    target.execute("CLOSE all_rows")


def _rows_digest(rows: Iterable[Sequence[Any]]) -> tuple[int, int]:
    """Number of rows, and the sum of their digests, which does not depend on their order."""
    n_rows, digest_sum = 0, 0
    for row in rows:
        row_digest = hashlib.sha256(repr(tuple(row)).encode(errors="surrogatepass")).digest()
        n_rows += 1
        digest_sum += int.from_bytes(row_digest, "big")
    return n_rows, digest_sum % 2 ** (8 * _DIGEST_BYTES)


def _migrate_document(file_path: Path) -> None:
    """Copy a document, then rename its file."""
    if any(file_path.match(pattern) for pattern in _BINARY_DOCUMENTS):
        content_text = base64.b64encode(file_path.read_bytes()).decode()
    else:
        content_text = file_path.read_text(encoding="utf-8")
    try:
        write_new_document(file_path, content_text)
    except FileExistsError as error:
        if read_document(file_path) != content_text:
            raise StoreError(
                f"The database of {STATE_URL} has another version of this document",
                received=file_path,
                way_out="Compare both; delete the one that is not needed, and run again",
            ) from error
    file_path.rename(file_path.with_name(file_path.name + _MIGRATED))


def _close_table(source: sqlite3.Connection, table_name: str, target_label: str) -> None:
    """Refuse later writes to a table of the file."""
    message = _closed_message(target_label)
    for operation in ("INSERT", "UPDATE", "DELETE"):
        source.execute(
            f"CREATE TRIGGER {_quoted(f'{_CLOSED}{operation.lower()}_{table_name}')} "
            f"BEFORE {operation} ON {_quoted(table_name)} "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )


def _closed_message(target_label: str) -> str:
    quoteless = target_label.replace("'", "")
    return f"migrated to {quoteless}"


def _closing_triggers(source: sqlite3.Connection) -> str:
    """Statements of the triggers that refuse writes; "" if the file is open for writes."""
    triggers = source.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
    ).fetchall()
    return "\n".join(sql_text for name, sql_text in triggers if name.startswith(_CLOSED))


def _open_file(file_path: Path) -> sqlite3.Connection:
    return sqlite3.connect(file_path, timeout=_WAIT_S, isolation_level=None)


def _table_names(source: sqlite3.Connection) -> list[str]:
    name_rows = source.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
        "ORDER BY name"
    ).fetchall()
    return [name for (name,) in name_rows]


def _column_names(source: sqlite3.Connection, table_name: str) -> list[str]:
    return [
        row[1] for row in source.execute(f"PRAGMA table_info({_quoted(table_name)})").fetchall()
    ]


def _create_table(source: sqlite3.Connection, table_name: str) -> str:
    (sql_text,) = source.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table_name,)
    ).fetchone()
    return str(sql_text)


def _create_statements(source: sqlite3.Connection) -> list[str]:
    """Statements that made tables and indexes, for a schema that may have them."""
    sql_rows = source.execute(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type IN ('table', 'index') "
        "AND name NOT LIKE 'sqlite_%' ORDER BY type DESC, name"
    ).fetchall()
    statements = []
    for (sql_text,) in sql_rows:
        for kind in ("TABLE", "UNIQUE INDEX", "INDEX"):
            sql_text = sql_text.replace(f"CREATE {kind} ", f"CREATE {kind} IF NOT EXISTS ", 1)
        statements.append(sql_text)
    return statements


def _n_rows(connection: sqlite3.Connection | PostgresConnection, table_name: str) -> int:
    count_sql = f"SELECT count(*) FROM {_quoted(table_name)}"  # noqa: S608 - quoted
    return int(connection.execute(count_sql).fetchall()[0][0])


def _select_all(source: sqlite3.Connection, table_name: str) -> str:
    column_list = _quoted(*_column_names(source, table_name))
    return f"SELECT {column_list} FROM {_quoted(table_name)}"  # noqa: S608 - quoted


def _quoted(*names: str) -> str:
    """Names of columns or of a table as identifiers, separated by commas."""
    doubled = (name.replace('"', '""') for name in names)
    return ", ".join(f'"{name}"' for name in doubled)


def _matching_files(root: Path, patterns: Iterable[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(root.glob(pattern))]


def _name(root: Path, file_path: Path) -> str:
    return file_path.relative_to(root).as_posix()


def _target_label() -> str:
    """Address of the database without its password.

    Raises:
        ConfigError: ``CHRONOTOPE_STATE_URL`` is not set.
    """
    database_url = state_url()
    if not database_url:
        raise ConfigError(
            f"{STATE_URL} is not set",
            way_out="Set it to the address of the Postgres database that services and workers "
            "will share",
        )
    return mask_password(database_url)
