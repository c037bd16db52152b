"""Locks of active runs: one locked file for each, released when its process dies."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from chronotope.runtime.private_files import private_folder


@contextmanager
def hold_run(folder: Path, about: str) -> Iterator[str]:
    """Hold a token until the block or the process ends.

    Args:
        folder: Where tokens lie; made if it is not there.
        about: How the token begins; no dash.

    Yields:
        The token, ``about-...``.
    """
    private_folder(folder)
    path = folder / f"{about}-{uuid4().hex}"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield path.name
        finally:
            path.unlink(missing_ok=True)


def close_dead_runs(folder: Path, close_run: Callable[[str, str], None]) -> None:
    """Close the run of every token whose process has died, then delete the token.

    Args:
        folder: Where tokens lie.
        close_run: Called with the token's prefix and the token.
    """
    for path in folder.glob("*-*"):
        with suppress(OSError), path.open("r+") as file:  # held, or gone by now
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            close_run(path.name.split("-", maxsplit=1)[0], path.name)
            path.unlink(missing_ok=True)
