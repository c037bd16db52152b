"""Lock of a dataset across processes: at most one training at a time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from chronotope.contracts.errors import StoreError
from chronotope.runtime.state import SharedLock
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
    """Hold a dataset's lock; the kernel, or the state database, frees it if the holder dies.

    Args:
        workspace: Folders of the installation.
        dataset: Name of the dataset.
        patience_s: Seconds to wait for another holder.
        on_wait: Called once if another process holds the lock.

    Raises:
        StoreError: Another process held the lock for the whole ``patience_s``.
    """
    shared_lock = SharedLock(workspace.root / "data" / "locks" / f"{dataset}.lock")
    try:
        if not shared_lock.try_acquire():
            on_wait()
            _wait(shared_lock, dataset, time.monotonic() + patience_s)
        yield
    finally:
        shared_lock.release()


def _wait(shared_lock: SharedLock, dataset: str, deadline_s: float) -> None:
    while not shared_lock.try_acquire():
        if time.monotonic() > deadline_s:
            raise StoreError(
                f"Another run is training on {dataset!r}",
                way_out="Wait until it has finished, or stop it, and run again",
            )
        time.sleep(_POLL_S)
