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


def private_folder(folder: Path) -> Path:
    """Make a folder and those above it that are not there, for this user alone.

    What was there keeps its mode: it may be one that others share, such as ``/tmp``.

    Args:
        folder: The folder.

    Raises:
        OSError: It cannot be made.
    """
    for missing in reversed([above for above in (folder, *folder.parents) if not above.exists()]):
        missing.mkdir(mode=_FOLDER, exist_ok=True)
    return folder


def private_database(path: Path) -> Path:
    """Make the file of a SQLite database and its folder, for this user alone, if it is new.

    Files of this user that were there, SQLite's own beside it included, are closed to others.

    Args:
        path: The database.

    Raises:
        OSError: It cannot be made.
    """
    private_folder(path.parent)
    with suppress(FileExistsError):  # another process made it since
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FILE))
    for suffix in _BESIDE:
        close_to_others(path.with_name(path.name + suffix))
    return path


def close_to_others(path: Path) -> None:
    """Take a file from other users of the machine; one that another user owns stays as it is.

    Args:
        path: The file; it may be missing.
    """
    with suppress(PermissionError, FileNotFoundError):
        if path.stat().st_mode & _OTHERS:
            path.chmod(_FILE)
