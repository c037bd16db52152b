"""Atomic creation of MLflow's SQLite database, and connection check of a server."""

import os
import sqlite3
from importlib.metadata import version
from pathlib import Path
from typing import Final

from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine_with_retry
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.event import listen

from chronotope.runtime.durable_files import sync_file, sync_folder
from chronotope.runtime.file_cache import ContentCache, FileCache, MemoryCache
from chronotope.runtime.private_files import restrict_to_owner
from chronotope.runtime.store_urls import named_cache_dir
from chronotope.runtime.temp_dirs import temporary_folder

_DRAFTS: Final = ".new-database-"
_CONNECT_S: Final = 10
"""Connection timeout of a database server in seconds."""

_process_cache: Final = MemoryCache()


def create_database(database_url: str) -> None:
    """Create the SQLite file of an address if it is missing.

    MLflow creates tables and then migrates them in many steps; a file that is left by a process
    killed in between cannot be opened. So the file is created as a draft and moved into place.
    An empty database is migrated once for all roots that share a cache.

    Args:
        database_url: Address of MLflow's database; other kinds than SQLite files are ignored.
    """
    database_path = _file_of(database_url)
    if database_path is None or database_path.exists():
        return
    with temporary_folder(database_path.parent, _DRAFTS) as draft_dir:
        draft_path = draft_dir / database_path.name
        content = _default_cache().get_or_make(
            _template_key(), lambda: _migrated_database(draft_dir / "template.db")
        )
        draft_path.write_bytes(content)
        sync_file(draft_path)
        restrict_to_owner(draft_path)
        try:
            os.link(draft_path, database_path)
        except FileExistsError:
            pass  # another process created it first
        except OSError:  # the file system does not support hard links
            draft_path.replace(database_path)
    sync_folder(database_path.parent)


def _default_cache() -> ContentCache:
    """Cache below the folder that the environment names, else in the memory of this process."""
    folder = named_cache_dir()
    return _process_cache if folder is None else FileCache(folder / "databases")


def _template_key() -> str:
    """Key of an empty database: its tables depend on MLflow's version alone."""
    return f"mlflow-{version('mlflow').replace('.', '-')}"


def _migrated_database(database_path: Path) -> bytes:
    """Content of an empty database with all tables; made in more than a second."""
    sql_engine = create_sqlalchemy_engine_with_retry(f"sqlite:///{database_path}")  # type: ignore[no-untyped-call]
    listen(sql_engine, "connect", _leave_to_the_disk_cache)
    sql_engine.dispose()  # the connection that was opened before
    _initialize_tables(sql_engine)  # type: ignore[no-untyped-call]
    sql_engine.dispose()
    return database_path.read_bytes()


def _leave_to_the_disk_cache(connection: sqlite3.Connection, _: object) -> None:
    """Do not wait for the disk after each of a thousand statements."""
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")


def require_answer(database_url: str) -> None:
    """Check the connection to a database server once; MLflow itself retries for minutes.

    Args:
        database_url: Address of MLflow's database; only a server is checked.

    Raises:
        SQLAlchemyError: The server does not respond, or refuses the connection.
    """
    if not database_url.startswith("postgresql"):
        return
    sql_engine = create_engine(database_url, connect_args={"connect_timeout": _CONNECT_S})
    try:
        sql_engine.connect().close()
    finally:
        sql_engine.dispose()


def _file_of(database_url: str) -> Path | None:
    if not database_url.startswith("sqlite:"):
        return None
    file_name = make_url(database_url).database
    return None if file_name in (None, "", ":memory:") else Path(str(file_name))
