"""Owner-only permissions of files and folders that contain user ids.

SQLite gives its ``-wal``, ``-shm`` and ``-journal`` files the mode of the database, so a database
that is created with owner-only permissions stays private.
"""

import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import StoreError

_FILE: Final = 0o600
_FOLDER: Final = 0o700
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_LOCK_WAIT_S: Final = 60.0
"""Wait for the write lock of another process."""

_SQLITE_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")


def private_folder(folder_path: Path) -> Path:
    """Create a folder and its missing parents with owner-only permissions.

    Existing folders keep their mode: one may be shared, such as ``/tmp``.

    Args:
        folder_path: The folder.

    Raises:
        OSError: The folder cannot be created.
    """
    for missing_dir in reversed(
        [
            parent_dir
            for parent_dir in (folder_path, *folder_path.parents)
            if not parent_dir.exists()
        ]
    ):
        missing_dir.mkdir(mode=_FOLDER, exist_ok=True)
    return folder_path


def private_database(file_path: Path) -> Path:
    """Create the file of a SQLite database and its folder with owner-only permissions.

    Existing files of this user, SQLite's side files included, become owner-only.

    Args:
        file_path: The database.

    Raises:
        OSError: The file cannot be created.
    """
    private_folder(file_path.parent)
    with suppress(FileExistsError):  # another process created it meanwhile
        if not file_path.exists():
            os.close(os.open(file_path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FILE))
    for file_suffix in _SQLITE_SUFFIXES:
        restrict_to_owner(file_path.with_name(file_path.name + file_suffix))
    return file_path


def private_connection(
    file_path: Path, schema: Sequence[str], *, synchronous: str = "FULL", journal_mode: str = "WAL"
) -> sqlite3.Connection:
    """Open a private SQLite database, created if it is missing; threads may share it.

    Args:
        file_path: The database.
        schema: Statements that create what is missing.
        synchronous: ``FULL``: a commit has reached the disk when it returns; ``NORMAL``: it
            outlives a killed process, not a power failure.
        journal_mode: ``WAL``: readers do not wait for the writer; ``DELETE``: one file alone.

    Raises:
        sqlite3.Error: The file is no database, or cannot be written.
        OSError: The file cannot be created.
    """
    private_database(file_path)
    database_connection = sqlite3.connect(
        file_path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False
    )
    try:
        database_connection.execute(f"PRAGMA journal_mode={journal_mode}")
        database_connection.execute(f"PRAGMA synchronous={synchronous}")
        for statement in schema:
            database_connection.execute(statement)
    except sqlite3.Error:
        database_connection.close()
        raise
    return database_connection


@contextmanager
def store_errors(subject: str, file_path: Path) -> Iterator[None]:
    """Raise errors of a SQLite log as ``StoreError``.

    Args:
        subject: Name of the log at the start of the message.
        file_path: The database.

    Raises:
        StoreError: The log cannot be read or written.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"{subject} cannot be used",
            received=f"{file_path}: {error}",
            way_out="Check that the folder is writable and the disk is not full",
        ) from error


@contextmanager
def immediate_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Transaction of a writer: committed at the end, rolled back at any exception.

    Args:
        connection: Connection without a transaction.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def restrict_to_owner(file_path: Path) -> None:
    """Remove other users' permissions on a file; a file of another owner is left unchanged.

    Args:
        file_path: The file; it may be missing.
    """
    with suppress(PermissionError, FileNotFoundError):
        if file_path.stat().st_mode & _OTHERS:
            file_path.chmod(_FILE)
