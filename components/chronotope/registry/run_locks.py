"""Lock files of active MLflow runs, one per run, released when the process dies."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from chronotope.runtime.private_files import private_folder


@contextmanager
def hold_run(locks_dir: Path, lock_name: str) -> Iterator[str]:
    """Hold the lock file of a run until the block or the process ends.

    Args:
        locks_dir: Folder of the lock files; created if missing.
        lock_name: Prefix of the token; must not contain a dash.

    Yields:
        The token ``<lock_name>-...``, which is the name of the lock file.
    """
    private_folder(locks_dir)
    lock_path = locks_dir / f"{lock_name}-{uuid4().hex}"
    with lock_path.open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        try:
            yield lock_path.name
        finally:
            lock_path.unlink(missing_ok=True)


def close_dead_runs(locks_dir: Path, close_run: Callable[[str, str], None]) -> None:
    """Close the run of every lock file whose process has died, then delete the file.

    Args:
        locks_dir: Folder of the lock files.
        close_run: Called with the prefix of the token and the token.
    """
    for lock_path in locks_dir.glob("*-*"):
        with suppress(OSError), lock_path.open("r+") as lock_file:  # locked, or deleted meanwhile
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            close_run(lock_path.name.split("-", maxsplit=1)[0], lock_path.name)
            lock_path.unlink(missing_ok=True)
