"""Lock of a dataset across processes: at most one training at a time."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Final

from chronotope.contracts.errors import StoreError
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.workspace import Workspace

PATIENCE_S: Final = 12 * 3600.0
"""Default wait for the lock in seconds; no training should take longer."""

_POLL_S: Final = 0.2


@contextmanager
def dataset_lock(
    workspace: Workspace,
    dataset: str,
    *,
    patience_s: float = PATIENCE_S,
    on_wait: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Hold a dataset's lock; the operating system frees it if the holder dies.

    Args:
        workspace: Folders of the installation.
        dataset: Name of the dataset.
        patience_s: Seconds to wait for another holder.
        on_wait: Called once if another process holds the lock.

    Raises:
        StoreError: Another process held the lock for the whole ``patience_s``.
    """
    lock_path = workspace.root / "data" / "locks" / f"{dataset}.lock"
    private_folder(lock_path.parent)
    with lock_path.open("w") as lock_file:
        if not _try_lock(lock_file):
            on_wait()
            _wait(lock_file, dataset, time.monotonic() + patience_s)
        yield


def _wait(lock_file: IO[str], dataset: str, deadline_s: float) -> None:
    while not _try_lock(lock_file):
        if time.monotonic() > deadline_s:
            raise StoreError(
                f"Another run is training on {dataset!r}",
                way_out="Wait until it has finished, or stop it, and run again",
            )
        time.sleep(_POLL_S)


def _try_lock(lock_file: IO[str]) -> bool:
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
