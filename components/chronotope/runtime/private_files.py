"""Files and folders that hold user ids: other users of the machine can neither read nor list them.

SQLite gives its ``-wal``, ``-shm`` and ``-journal`` files the mode of the database, so a database
that is private from the beginning stays so.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

_FILE: Final = 0o600
_FOLDER: Final = 0o700
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_BESIDE: Final = ("", "-wal", "-shm", "-journal")


def private_folder(folder_path: Path) -> Path:
    """Make a folder and those above it that are not there, for this user alone.

    What was there keeps its mode: it may be one that others share, such as ``/tmp``.

    Args:
        folder_path: The folder.

    Raises:
        OSError: It cannot be made.
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
    """Make the file of a SQLite database and its folder, for this user alone, if it is new.

    Files of this user that were there, SQLite's own beside it included, are closed to others.

    Args:
        file_path: The database.

    Raises:
        OSError: It cannot be made.
    """
    private_folder(file_path.parent)
    with suppress(FileExistsError):  # another process made it since
        if not file_path.exists():
            os.close(os.open(file_path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FILE))
    for file_suffix in _BESIDE:
        close_to_others(file_path.with_name(file_path.name + file_suffix))
    return file_path


def close_to_others(file_path: Path) -> None:
    """Take a file from other users of the machine; one that another user owns stays as it is.

    Args:
        file_path: The file; it may be missing.
    """
    with suppress(PermissionError, FileNotFoundError):
        if file_path.stat().st_mode & _OTHERS:
            file_path.chmod(_FILE)
