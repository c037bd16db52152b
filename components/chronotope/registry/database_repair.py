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
_REASON: Final = "Restored from MLflow's alias after damage of the promotion journal"


def database_problem(database_path: Path, required_tables: Iterable[str]) -> str:
    """Description of the damage of an SQLite file; "" if it is intact or missing.

    Args:
        database_path: The file.
        required_tables: Tables that the database must have.
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
        required_tables: Tables that the new file must have; otherwise it is discarded.
        move_aside: Moves a file to the folder of moved files; returns its new path.

    Returns:
        Number of copied rows by table; None if no new file was created.

    Raises:
        OSError: A file cannot be read or written.
    """
    file_mode = database_path.stat().st_mode & 0o777
    draft_path = database_path.with_name(f".{database_path.name}.repaired")
    draft_path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as name:
        copied_path = Path(shutil.copy2(database_path, name))
        for sibling_path in _siblings(database_path):
            shutil.copy2(sibling_path, name)
        rows_by_table = _copy_database(copied_path, draft_path)
    for damaged_path in (database_path, *_siblings(database_path)):
        move_aside(damaged_path)
    if not set(required_tables) <= rows_by_table.keys():
        draft_path.unlink(missing_ok=True)
        return None
    draft_path.chmod(file_mode)
    draft_path.replace(database_path)
    return rows_by_table


def complete_journal(mlruns_dir: Path) -> list[str]:
    """Restore champions that the promotion journal lost from MLflow's aliases.

    Args:
        mlruns_dir: Folder of the journal and of MLflow's store.

    Returns:
        ``DATASET: version N`` for each restored champion.

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
        with suppress(MlflowException):  # the model has no champion alias
            version = str(
                mlflow_client.get_model_version_by_alias(registered_model.name, CHAMPION).version
            )
            if _record_promotion(promotion_journal, str(registered_model.name), version):
                completed_models.append(f"{registered_model.name}: version {version}")
    return completed_models


def _record_promotion(promotion_journal: PromotionJournal, name: str, version: str) -> bool:
    """Add a promotion to the journal; False if not needed or another one is unfinished."""
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
    """Existing side files of SQLite, with changes that are not in the database file yet."""
    sibling_paths = (
        database_path.with_name(database_path.name + file_suffix) for file_suffix in _SIBLINGS
    )
    return (sibling_path for sibling_path in sibling_paths if sibling_path.is_file())


def _copy_database(damaged_path: Path, target_path: Path) -> dict[str, int]:
    """Copy the readable rows of a damaged database; returns the row count by table."""
    rows_by_table: dict[str, int] = {}
    with (
        closing(_open_tolerant(damaged_path)) as source_database,
        closing(sqlite3.connect(target_path)) as target_database,
    ):
        index_statements = []
        for object_type, name, statement in _schema(source_database):
            if object_type != "table":
                index_statements.append(statement)
                continue
            with suppress(sqlite3.Error):
                target_database.execute(statement)
                rows_by_table[name] = _copy_rows(source_database, target_database, name)
        for statement in index_statements:
            with suppress(sqlite3.Error):  # lost or repeated rows can violate a constraint
                target_database.execute(statement)
        target_database.commit()
    return rows_by_table


def _schema(source_database: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Type, name and SQL statement of each readable entry of the schema."""
    schema_query = (
        "SELECT type, name, sql FROM sqlite_master "
        "WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    )
    table_rows: list[tuple[str, str, str]] = []
    with suppress(sqlite3.Error):
        # With a writable schema, SQLite reads the entries after a damaged one.
        source_database.execute("PRAGMA writable_schema = ON")
        for row in source_database.execute(schema_query):
            table_rows.append(row)  # noqa: PERF402 - entries before an error are kept
    return table_rows


def _copy_rows(
    source_database: sqlite3.Connection, target_database: sqlite3.Connection, name: str
) -> int:
    """Copy a table from both ends, since a damaged page hides later rows; returns the row count."""
    quoted_name = '"' + name.replace('"', '""') + '"'
    for row_order in ("", " ORDER BY rowid DESC"):
        try:
            for row in source_database.execute(f"SELECT * FROM {quoted_name}{row_order}"):  # noqa: S608 - quoted
                placeholders = ", ".join("?" * len(row))
                insert_row = f"INSERT OR IGNORE INTO {quoted_name} VALUES ({placeholders})"  # noqa: S608
                target_database.execute(insert_row, row)
            break
        except sqlite3.Error:
            continue
    count_query = f"SELECT count(*) FROM {quoted_name}"  # noqa: S608
    return int(target_database.execute(count_query).fetchone()[0])


def _open_tolerant(database_path: Path) -> sqlite3.Connection:
    """Connection that replaces invalid UTF-8 in texts."""
    database = sqlite3.connect(database_path)
    database.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return database
