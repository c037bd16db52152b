"""Files that are written whole or not at all, reach the disk, and show damage when read.

A file that is renamed into place before its bytes are on the disk is empty after a power cut.
A JSON file holds a checksum of its content, since one flipped byte can still be valid JSON.
"""

import fcntl
import glob
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from chronotope.contracts.errors import StoreError

CHECKSUM: Final = "checksum"
"""Key of a JSON file that holds the checksum of all other keys."""

_BEGINNING_S: Final = 60.0
"""Longer than from making a draft to holding it."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A draft that becomes the file, on the disk, when the block ends without an error.

    Args:
        path: The file; missing folders are made.

    Yields:
        Path of the draft, which the block has to write.

    Raises:
        OSError: The disk refuses.
    """
    with _draft_of(path) as draft:
        yield draft
        sync_file(draft)
        draft.replace(path)
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; it is on the disk when this returns.

    Raises:
        OSError: The disk refuses.
    """
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_new_text(path: Path, text: str) -> None:
    """Write a text file that must not exist yet; of several writers one succeeds.

    Raises:
        FileExistsError: There is one already.
        OSError: The disk refuses.
    """
    with _draft_of(path) as draft:
        draft.write_text(text, encoding="utf-8")
        sync_file(draft)
        os.link(draft, path)
    sync_folder(path.parent)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an object and its checksum, whole or not at all; on the disk when this returns.

    Args:
        path: The file; missing folders are made.
        content: JSON-able.

    Raises:
        OSError: The disk refuses.
    """
    plain = json.loads(json.dumps(content))  # keys as they are read back
    text = json.dumps({**plain, CHECKSUM: checksum_of(plain)}, indent=2)
    write_text(path, f"{text}\n")


def read_json(path: Path, *, what: str, way_out: str) -> dict[str, Any]:
    """Read what ``write_json`` wrote; an object without a checksum is taken as it is.

    Args:
        path: The file.
        what: What the file is, for the error, such as ``"The watermark of the feedback"``.
        way_out: What to do about a damaged one.

    Raises:
        StoreError: The file cannot be read, is no JSON object, or differs from its checksum.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(
            f"{what} cannot be read", received=f"{path}: {error}", way_out=way_out
        ) from error
    if not isinstance(content, dict):
        raise StoreError(
            f"{what} cannot be read", received=f"{path}: no JSON object", way_out=way_out
        )
    checksum = content.pop(CHECKSUM, None)
    if checksum not in (None, checksum_of(content)):
        raise StoreError(
            f"{what} was changed or is damaged",
            received=f"{path}: the content differs from its checksum",
            way_out=way_out,
        )
    return content


def checksum_of(content: dict[str, Any]) -> str:
    """Checksum of a JSON object, whatever the order of its keys.

    >>> checksum_of({"a": 1, "b": 2}) == checksum_of({"b": 2, "a": 1})
    True
    """
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def file_checksum(path: Path) -> str:
    """Checksum of a file's bytes.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def sync_file(path: Path) -> None:
    """Wait until a file's bytes are on the disk.

    Raises:
        OSError: The disk refuses.
    """
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Wait until a folder's names are on the disk, where the system can do that.

    Some file systems, mounted ones above all, refuse to synchronise a folder.
    """
    with suppress(OSError):
        _sync(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """A file of this process beside another, held locked; nothing is left behind the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for abandoned in path.parent.glob(f".{glob.escape(path.name)}.*.draft"):
        _remove_if_abandoned(abandoned)
    draft = path.with_name(f".{path.name}.{token_hex(6)}.draft")
    with draft.open("xb") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        try:
            yield draft
        finally:
            draft.unlink(missing_ok=True)


def _remove_if_abandoned(draft: Path) -> None:
    """Remove a draft whose process is gone; an empty new one may be about to be held."""
    with suppress(OSError), draft.open("rb") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = draft.stat()
        if status.st_size or status.st_mtime < time.time() - _BEGINNING_S:
            draft.unlink(missing_ok=True)
