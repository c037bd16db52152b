"""SQLite files that are damaged: what can be read of them is carried over into a new file."""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from mlflow.exceptions import MlflowException

from chronotope.contracts.errors import StoreError
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.promotion import CHAMPION
from chronotope.registry.promotion_journal import PromotionJournal

_SIBLINGS: Final = ("-wal", "-shm", "-journal")
_NOT_DAMAGE: Final = ("locked", "busy", "unable to open", "readonly", "read-only", "permission")
_REASON: Final = "Carried over from MLflow's alias: the journal was damaged"


def database_problem(path: Path, tables: Iterable[str]) -> str:
    """What is wrong with an SQLite file; "" if nothing is, or if it is not there.

    Args:
        path: The file.
        tables: Names of tables without which it is worth nothing.
    """
    if not path.is_file():
        return ""
    if path.stat().st_size == 0:
        return "the file is empty"
    try:
        with closing(_read_only(path)) as connection:
            verdict = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
            names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as error:
        text = str(error)
        return "" if any(word in text.lower() for word in _NOT_DAMAGE) else text
    if verdict != "ok":
        return " ".join(verdict.split())
    missing = sorted(set(tables) - names)
    return f"it has no table {missing[0]!r}" if missing else ""


def carry_over(
    path: Path, tables: Iterable[str], move_aside: Callable[[Path], Path]
) -> dict[str, int] | None:
    """Move a damaged file aside and put what can be read of it in its place.

    Args:
        path: The SQLite file.
        tables: Names of tables without which a new file is worth nothing.
        move_aside: Moves a file to where nothing is deleted; returns its new path.

    Returns:
        Rows of each table that were carried over; None if no new file was made.

    Raises:
        OSError: The disk refuses.
    """
    mode = path.stat().st_mode & 0o777
    draft = path.with_name(f".{path.name}.repaired")
    draft.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as name:
        copy = Path(shutil.copy2(path, name))
        for sibling in _siblings(path):
            shutil.copy2(sibling, name)
        counts = _copied(copy, draft)
    for file in (path, *_siblings(path)):
        move_aside(file)
    if not set(tables) <= counts.keys():
        draft.unlink(missing_ok=True)
        return None
    draft.chmod(mode)
    draft.replace(path)
    return counts


def complete_journal(mlruns: Path) -> list[str]:
    """Let the journal of promotions name the champions that MLflow's aliases name.

    Args:
        mlruns: Folder of both stores.

    Returns:
        ``dataset: version`` of each champion that the journal had lost.

    Raises:
        StoreError: One of the stores cannot be opened.
    """
    client, journal = open_store(mlruns).client, PromotionJournal(mlruns / "promotions.db")
    completed = []
    for model in client.search_registered_models():
        with suppress(MlflowException):  # no such alias
            version = str(client.get_model_version_by_alias(model.name, CHAMPION).version)
            if _append(journal, str(model.name), version):
                completed.append(f"{model.name}: version {version}")
    return completed


def _append(journal: PromotionJournal, name: str, version: str) -> bool:
    """Write the promotion of a version unless it is the champion or one is under way."""
    champion = journal.champion(name)
    if champion == version or journal.pending(name) is not None:
        return False
    key = f"repaired {datetime.now(UTC).isoformat()}"
    with suppress(StoreError):  # somebody else promotes just now
        intent = journal.open_intent(name, version, expected=champion, key=key, reason=_REASON)
        journal.settle(intent, "committed")
        return True
    return False


def _read_only(path: Path) -> sqlite3.Connection:
    """A connection that leaves no file behind; a log of writes beside the file has to be read."""
    kind = "mode=ro" if any(_siblings(path)) else "mode=ro&immutable=1"
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?{kind}", uri=True)


def _siblings(path: Path) -> Iterator[Path]:
    """Files in which SQLite keeps what is not in the database yet."""
    files = (path.with_name(path.name + suffix) for suffix in _SIBLINGS)
    return (file for file in files if file.is_file())


def _copied(damaged: Path, target: Path) -> dict[str, int]:
    """Rows by table of what could be read of a damaged database and written to a new one."""
    counts: dict[str, int] = {}
    with closing(_opened(damaged)) as source, closing(sqlite3.connect(target)) as copy:
        later = []
        for kind, name, statement in _schema(source):
            if kind != "table":
                later.append(statement)
                continue
            with suppress(sqlite3.Error):
                copy.execute(statement)
                counts[name] = _copied_rows(source, copy, name)
        for statement in later:
            with suppress(sqlite3.Error):  # rows that are lost, or twice there, forbid it
                copy.execute(statement)
        copy.commit()
    return counts


def _schema(source: sqlite3.Connection) -> list[tuple[str, str, str]]:
    query = (
        "SELECT type, name, sql FROM sqlite_master "
        "WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    )
    rows: list[tuple[str, str, str]] = []
    with suppress(sqlite3.Error):
        source.execute("PRAGMA writable_schema = ON")  # one damaged line then spoils no other
        for row in source.execute(query):
            rows.append(row)  # noqa: PERF402 - those before an error count
    return rows


def _copied_rows(source: sqlite3.Connection, copy: sqlite3.Connection, name: str) -> int:
    """Read a table from both ends: a damaged page in its middle hides what lies behind it."""
    quoted = '"' + name.replace('"', '""') + '"'
    for order in ("", " ORDER BY rowid DESC"):
        try:
            for row in source.execute(f"SELECT * FROM {quoted}{order}"):  # noqa: S608 - quoted
                marks = ", ".join("?" * len(row))
                copy.execute(f"INSERT OR IGNORE INTO {quoted} VALUES ({marks})", row)  # noqa: S608
            break
        except sqlite3.Error:
            continue
    return int(copy.execute(f"SELECT count(*) FROM {quoted}").fetchone()[0])  # noqa: S608


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection
