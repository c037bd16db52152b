"""Repair of damaged SQLite files: readable rows are copied to a new file."""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from chronotope.contracts.errors import StoreError
from chronotope.registry.promotion_journal import CHAMPION, PromotionJournal

_SIBLINGS: Final = ("-wal", "-shm", "-journal")
_NOT_DAMAGE: Final = ("locked", "busy", "unable to open", "readonly", "read-only", "permission")
_REASON: Final = "Carried over from MLflow's alias: the journal was damaged"


def database_problem(database_path: Path, required_tables: Iterable[str]) -> str:
    """Description of the damage of an SQLite file; "" if it is intact or missing.

    Args:
        database_path: The file.
        required_tables: Names of tables without which it is worth nothing.
    """
    if not database_path.is_file():
        return ""
    if database_path.stat().st_size == 0:
        return "the file is empty"
    try:
        with closing(_read_only(database_path)) as database:
            integrity_verdict = str(database.execute("PRAGMA integrity_check(1)").fetchone()[0])
            table_names = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as error:
        error_text = str(error)
        return (
            ""
            if any(error_word in error_text.lower() for error_word in _NOT_DAMAGE)
            else error_text
        )
    if integrity_verdict != "ok":
        return " ".join(integrity_verdict.split())
    missing_tables = sorted(set(required_tables) - table_names)
    return f"it has no table {missing_tables[0]!r}" if missing_tables else ""


def carry_over(
    database_path: Path, required_tables: Iterable[str], move_aside: Callable[[Path], Path]
) -> dict[str, int] | None:
    """Replace a damaged SQLite file by a new one with its readable rows.

    Args:
        database_path: The SQLite file.
        required_tables: Names of tables without which a new file is worth nothing.
        move_aside: Moves a file to where nothing is deleted; returns its new path.

    Returns:
        Rows of each table that were carried over; None if no new file was made.

    Raises:
        OSError: The disk refuses.
    """
    file_mode = database_path.stat().st_mode & 0o777
    draft_path = database_path.with_name(f".{database_path.name}.repaired")
    draft_path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as name:
        copied_path = Path(shutil.copy2(database_path, name))
        for sibling_path in _siblings(database_path):
            shutil.copy2(sibling_path, name)
        rows_by_table = _copied(copied_path, draft_path)
    for draft_file in (database_path, *_siblings(database_path)):
        move_aside(draft_file)
    if not set(required_tables) <= rows_by_table.keys():
        draft_path.unlink(missing_ok=True)
        return None
    draft_path.chmod(file_mode)
    draft_path.replace(database_path)
    return rows_by_table


def complete_journal(mlruns_dir: Path) -> list[str]:
    """Restore lost champions of the promotion journal from MLflow's aliases.

    Args:
        mlruns_dir: Folder of both stores.

    Returns:
        ``dataset: version`` of each champion that the journal had lost.

    Raises:
        StoreError: One of the stores cannot be opened.
    """
    from mlflow.exceptions import MlflowException

    from chronotope.registry.mlflow_store import open_store

    mlflow_client, promotion_journal = (
        open_store(mlruns_dir).client,
        PromotionJournal(mlruns_dir / "promotions.db"),
    )
    completed_models = []
    for registered_model in mlflow_client.search_registered_models():
        with suppress(MlflowException):  # no such alias
            version = str(
                mlflow_client.get_model_version_by_alias(registered_model.name, CHAMPION).version
            )
            if _append(promotion_journal, str(registered_model.name), version):
                completed_models.append(f"{registered_model.name}: version {version}")
    return completed_models


def _append(promotion_journal: PromotionJournal, name: str, version: str) -> bool:
    """Write the promotion of a version unless it is the champion or one is under way."""
    champion = promotion_journal.champion(name)
    if champion == version or promotion_journal.pending(name) is not None:
        return False
    repair_key = f"repaired {datetime.now(UTC).isoformat()}"
    with suppress(StoreError):  # another promotion is under way
        promotion_intent = promotion_journal.open_intent(
            name, version, expected=champion, key=repair_key, reason=_REASON
        )
        promotion_journal.settle(promotion_intent, "committed")
        return True
    return False


def _read_only(database_path: Path) -> sqlite3.Connection:
    """Read-only connection that creates no files but reads an existing write-ahead log."""
    open_mode = "mode=ro" if any(_siblings(database_path)) else "mode=ro&immutable=1"
    return sqlite3.connect(f"file:{quote(str(database_path.absolute()))}?{open_mode}", uri=True)


def _siblings(database_path: Path) -> Iterator[Path]:
    """Side files of SQLite with changes that are not in the database yet."""
    sibling_paths = (
        database_path.with_name(database_path.name + file_suffix) for file_suffix in _SIBLINGS
    )
    return (draft_file for draft_file in sibling_paths if draft_file.is_file())


def _copied(damaged_database: Path, target_database: Path) -> dict[str, int]:
    """Copy the readable rows of a damaged database; returns the row count by table."""
    rows_by_table: dict[str, int] = {}
    with (
        closing(_opened(damaged_database)) as source_database,
        closing(sqlite3.connect(target_database)) as copied_path,
    ):
        later_statements = []
        for open_mode, name, statement in _schema(source_database):
            if open_mode != "table":
                later_statements.append(statement)
                continue
            with suppress(sqlite3.Error):
                copied_path.execute(statement)
                rows_by_table[name] = _copied_rows(source_database, copied_path, name)
        for statement in later_statements:
            with suppress(sqlite3.Error):  # rows that are lost, or twice there, forbid it
                copied_path.execute(statement)
        copied_path.commit()
    return rows_by_table


def _schema(source_database: sqlite3.Connection) -> list[tuple[str, str, str]]:
    schema_query = (
        "SELECT type, name, sql FROM sqlite_master "
        "WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    )
    table_rows: list[tuple[str, str, str]] = []
    with suppress(sqlite3.Error):
        source_database.execute(
            "PRAGMA writable_schema = ON"
        )  # one damaged line then spoils no other
        for row in source_database.execute(schema_query):
            table_rows.append(row)  # noqa: PERF402 - those before an error count
    return table_rows


def _copied_rows(
    source_database: sqlite3.Connection, copied_path: sqlite3.Connection, name: str
) -> int:
    """Copy a table from both ends, since a damaged page hides the rows behind it."""
    quoted_name = '"' + name.replace('"', '""') + '"'
    for row_order in ("", " ORDER BY rowid DESC"):
        try:
            for row in source_database.execute(f"SELECT * FROM {quoted_name}{row_order}"):  # noqa: S608 - quoted
                placeholders = ", ".join("?" * len(row))
                insert_row = f"INSERT OR IGNORE INTO {quoted_name} VALUES ({placeholders})"  # noqa: S608
                copied_path.execute(insert_row, row)
            break
        except sqlite3.Error:
            continue
    return int(copied_path.execute(f"SELECT count(*) FROM {quoted_name}").fetchone()[0])  # noqa: S608


def _opened(database_path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(database_path)
    database.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return database
