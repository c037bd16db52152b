"""Folders for what is not finished: gone with their process, however that ends."""

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from chronotope.runtime.private_files import private_folder

OWNER: Final = ".owner"
"""File in a draft that its process holds locked; the operating system lets go of it."""

_BEGINNING_S: Final = 60.0
"""Longer than from making a folder to holding it."""


@contextmanager
def temporary_folder(above: Path, prefix: str) -> Iterator[Path]:
    """A new folder that is gone behind the block; those of killed processes go first.

    Args:
        above: Where it lies; made if it is not there.
        prefix: How its name begins, and the names of those that are looked through.

    Raises:
        OSError: The disk refuses.
    """
    private_folder(above)
    for left in above.glob(f"{prefix}*"):
        _remove_if_left(left)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=above) as name:
        folder = Path(name)
        with (folder / OWNER).open("w") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)
            yield folder


def _remove_if_left(folder: Path) -> None:
    """Remove a draft that nobody holds; a new one with nothing in it may be about to be held."""
    with suppress(OSError), (folder / OWNER).open("a") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        begun = any(path.name != OWNER for path in folder.iterdir())
        age_s = time.time() - folder.stat().st_mtime
        if begun or abs(age_s) > _BEGINNING_S:  # dated in the future by a clock that was ahead
            shutil.rmtree(folder, ignore_errors=True)
