"""Atomic, synchronised file writes, and JSON files with a checksum.

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
from chronotope.contracts.strict_json import JsonObject

CHECKSUM: Final = "checksum"
"""Key of a JSON file that holds the checksum of all other keys."""

_LOCK_GRACE_S: Final = 60.0
"""Seconds in which a new draft may still be unlocked."""


@contextmanager
def replacing(file_path: Path) -> Iterator[Path]:
    """Temporary draft that atomically replaces the file when the block ends without an error.

    Args:
        file_path: The file; missing folders are created.

    Yields:
        Path of the draft, which the block has to write.

    Raises:
        OSError: The file cannot be written.
    """
    with _draft_of(file_path) as draft_path:
        yield draft_path
        sync_file(draft_path)
        draft_path.replace(file_path)
    sync_folder(file_path.parent)


def write_text(file_path: Path, file_text: str) -> None:
    """Write a text file atomically; it is on the disk when this returns.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(file_path) as draft_path:
        draft_path.write_text(file_text, encoding="utf-8")


def write_new_text(file_path: Path, file_text: str) -> None:
    """Write a text file that must not exist yet; of several writers one succeeds.

    Raises:
        FileExistsError: The file exists already.
        OSError: The file cannot be written.
    """
    with _draft_of(file_path) as draft_path:
        draft_path.write_text(file_text, encoding="utf-8")
        sync_file(draft_path)
        os.link(draft_path, file_path)
    sync_folder(file_path.parent)


def write_json(file_path: Path, json_content: dict[str, Any]) -> None:
    """Write a JSON object and its checksum atomically; on the disk when this returns.

    Args:
        file_path: The file; missing folders are created.
        json_content: Object with values that JSON can represent.

    Raises:
        OSError: The file cannot be written.
    """
    write_text(file_path, checked_text(json_content))


def checked_text(json_content: dict[str, Any]) -> str:
    """Text of a JSON object with its checksum.

    Args:
        json_content: Object with values that JSON can represent.
    """
    plain_content = json.loads(json.dumps(json_content))  # keys become strings, as when read
    content_text = json.dumps({**plain_content, CHECKSUM: checksum_of(plain_content)}, indent=2)
    return f"{content_text}\n"


def read_json(file_path: Path, *, subject: str, way_out: str) -> JsonObject:
    """Read a file of ``write_json``; an object without a checksum is accepted unchecked.

    Args:
        file_path: The file.
        subject: Name of the file's role for errors, such as ``"The watermark of the feedback"``.
        way_out: Advice for the error message if the file is damaged.

    Raises:
        StoreError: The file cannot be read, is no JSON object, or differs from its checksum.
    """
    try:
        content_text = file_path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{subject} cannot be read", received=f"{file_path}: {error}", way_out=way_out
        ) from error
    return parse_checked(content_text, file_path, subject=subject, way_out=way_out)


def parse_checked(content_text: str, file_path: Path, *, subject: str, way_out: str) -> JsonObject:
    """Object of a text of ``checked_text``; one without a checksum is accepted unchecked.

    Args:
        content_text: The text.
        file_path: Where it was read, for errors.
        subject: Name of its role for errors.
        way_out: Advice for the error message if it is damaged.

    Raises:
        StoreError: The text is no JSON object, or differs from its checksum.
    """
    try:
        json_content = json.loads(content_text)
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"{subject} cannot be read", received=f"{file_path}: {error}", way_out=way_out
        ) from error
    if not isinstance(json_content, dict):
        raise StoreError(
            f"{subject} cannot be read", received=f"{file_path}: no JSON object", way_out=way_out
        )
    stored_checksum = json_content.pop(CHECKSUM, None)
    if stored_checksum not in (None, checksum_of(json_content)):
        raise StoreError(
            f"{subject} was changed or is damaged",
            received=f"{file_path}: the content differs from its checksum",
            way_out=way_out,
        )
    return json_content


def checksum_of(json_content: dict[str, Any]) -> str:
    """Checksum of a JSON object, independent of the order of its keys.

    >>> checksum_of({"a": 1, "b": 2}) == checksum_of({"b": 2, "a": 1})
    True
    """
    return hashlib.blake2b(
        json.dumps(json_content, sort_keys=True).encode(), digest_size=16
    ).hexdigest()


def file_checksum(file_path: Path) -> str:
    """Checksum of a file's bytes.

    Raises:
        OSError: The file cannot be read.
    """
    with file_path.open("rb") as open_file:
        return hashlib.file_digest(open_file, "blake2b").hexdigest()[:32]


def sync_file(file_path: Path) -> None:
    """Wait until a file's bytes are on the disk.

    Raises:
        OSError: The file cannot be written.
    """
    _sync(file_path, os.O_RDONLY)


def sync_folder(file_path: Path) -> None:
    """Wait until a folder's entries are on the disk, where the file system supports it.

    Some file systems, mounted ones above all, refuse to synchronise a folder.
    """
    with suppress(OSError):
        _sync(file_path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))


def _sync(file_path: Path, open_flags: int) -> None:
    file_descriptor = os.open(file_path, open_flags)
    try:
        os.fsync(file_descriptor)
    finally:
        os.close(file_descriptor)


@contextmanager
def _draft_of(file_path: Path) -> Iterator[Path]:
    """Locked draft file beside the target; removed at the end of the block."""
    file_path.parent.mkdir(parents=True, exist_ok=True)
    for abandoned_draft in file_path.parent.glob(f".{glob.escape(file_path.name)}.*.draft"):
        _remove_if_abandoned(abandoned_draft)
    draft_path = file_path.with_name(f".{file_path.name}.{token_hex(6)}.draft")
    with draft_path.open("xb") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        try:
            yield draft_path
        finally:
            draft_path.unlink(missing_ok=True)


def _remove_if_abandoned(draft_path: Path) -> None:
    """Remove a draft of a dead process; a new empty draft may not be locked yet."""
    with suppress(OSError), draft_path.open("rb") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file_status = draft_path.stat()
        if file_status.st_size or file_status.st_mtime < time.time() - _LOCK_GRACE_S:
            draft_path.unlink(missing_ok=True)
