"""Temporary folders, removed at exit or, after a kill, by the next process."""

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
"""Lock file in a temporary folder; the operating system releases it when the process dies."""

_LOCK_GRACE_S: Final = 60.0
"""Seconds in which a new folder may still be unlocked."""


@contextmanager
def temporary_folder(parent_dir: Path, name_prefix: str) -> Iterator[Path]:
    """New temporary folder, removed after the block; folders of killed processes are removed first.

    Args:
        parent_dir: Parent folder; created if missing.
        name_prefix: Prefix of its name; leftovers with the same prefix are cleaned up.

    Raises:
        OSError: The folder cannot be created.
    """
    private_folder(parent_dir)
    for leftover_dir in parent_dir.glob(f"{name_prefix}*"):
        _remove_if_left(leftover_dir)
    with tempfile.TemporaryDirectory(prefix=name_prefix, dir=parent_dir) as draft_name:
        draft_dir = Path(draft_name)
        with (draft_dir / OWNER).open("w") as lock_file:
            fcntl.flock(lock_file, fcntl.LOCK_EX)
            yield draft_dir


def _remove_if_left(draft_dir: Path) -> None:
    """Remove an unlocked folder; a new empty one may not be locked yet."""
    with suppress(OSError), (draft_dir / OWNER).open("a") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        has_content = any(child_path.name != OWNER for child_path in draft_dir.iterdir())
        age_s = time.time() - draft_dir.stat().st_mtime
        # The age is negative if the clock was ahead when the folder was created.
        if has_content or abs(age_s) > _LOCK_GRACE_S:
            shutil.rmtree(draft_dir, ignore_errors=True)
