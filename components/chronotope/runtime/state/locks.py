"""Locks across processes that vanish with their holder: a lock file, or an advisory lock."""

import fcntl
import logging
from pathlib import Path
from typing import IO

from chronotope.contracts.errors import StoreError
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.state.postgres import PostgresConnection, lock_number, schema_name
from chronotope.runtime.store_urls import state_url

_LOG = logging.getLogger(__name__)


class SharedLock:
    """Exclusive lock of a name, freed by the kernel or the server if its holder dies.

    The lock saves work; it is not what correctness rests on. A session that the server ends, as
    when it restarts, has lost its lock: commits to the lake, promotions and positions of the
    intake are compared with what they were made for and stay whole when two runs overlap.
    """

    def __init__(self, lock_path: Path) -> None:
        """Name the lock; nothing is held yet.

        Args:
            lock_path: Lock file; with ``CHRONOTOPE_STATE_URL``, its folder and its name are the
                name of the lock, below whatever root.

        Raises:
            OSError: The file cannot be opened.
            StoreError: The server cannot be used.
        """
        self._name = f"{lock_path.parent.name}/{lock_path.name}"
        self._file: IO[str] | None = None
        self._connection: PostgresConnection | None = None
        if state_url():
            self._connection = PostgresConnection(state_url(), schema_name("locks"))
        else:
            private_folder(lock_path.parent)
            self._file = lock_path.open("w")

    def try_acquire(self) -> bool:
        """Take the lock if nobody holds it; returns whether it is held now."""
        if self._connection is not None:
            query = "SELECT pg_try_advisory_lock(?)"
            return bool(self._connection.first_value(query, (lock_number(self._name),)))
        assert self._file is not None  # noqa: S101 - one of both is open
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Free the lock; one that was lost meanwhile is logged."""
        if self._file is not None:
            self._file.close()
        if self._connection is None:
            return
        try:
            query = "SELECT pg_advisory_unlock(?)"
            is_held = self._connection.first_value(query, (lock_number(self._name),))
        except StoreError:
            is_held = False
        if not is_held:
            _LOG.warning("The lock %s was lost: the state database ended its session", self._name)
        self._connection.close()
