"""Cache of content that is slow to make: files with a checksum in a bounded folder, or memory."""

import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from chronotope.runtime.durable_files import replacing

_LOG = logging.getLogger(__name__)

MAX_ENTRIES: Final = 64
"""Default number of entries above which those unused for longest are removed."""

_CHECKSUM_BYTES: Final = 16
_SUFFIX: Final = ".cached"
_LOCK_FILE: Final = "locks"


class ContentCache(Protocol):
    """Content by its key."""

    def get_or_make(self, key: str, make: Callable[[], bytes]) -> bytes:
        """Content of a key, made and stored where there is none.

        Args:
            key: Name of the content; letters, digits and hyphens.
            make: Makes the content.
        """
        ...


@dataclass(frozen=True, slots=True)
class MemoryCache:
    """Content in the memory of this process."""

    max_entries: int = MAX_ENTRIES
    _content_by_key: dict[str, bytes] = field(default_factory=dict)

    def get_or_make(self, key: str, make: Callable[[], bytes]) -> bytes:
        """As of ``ContentCache``."""
        content = self._content_by_key.pop(key) if key in self._content_by_key else make()
        self._content_by_key[key] = content  # the last one is the one used last
        while len(self._content_by_key) > self.max_entries:
            del self._content_by_key[next(iter(self._content_by_key))]
        return content


@dataclass(frozen=True, slots=True)
class FileCache:
    """Content in files of one folder, which several processes may use at once.

    Attributes:
        folder: The folder; made where it is missing.
        max_entries: Number of files above which those unused for longest are removed.
    """

    folder: Path
    max_entries: int = MAX_ENTRIES

    def get_or_make(self, key: str, make: Callable[[], bytes]) -> bytes:
        """As of ``ContentCache``; a damaged file is made again.

        One process makes it while others that ask for the same key wait. If the folder cannot
        be used, the content is made each time.
        """
        with ExitStack() as held:
            try:
                held.enter_context(_locked(self.folder, key))
                content = self._read(key)
            except OSError as error:
                _LOG.warning("The cache in %s cannot be used: %s", self.folder, error)
                content = None
            if content is None:
                content = make()
                self._write(key, content)
        return content

    def holds(self, key: str) -> bool:
        """Whether there is a file of a key, perhaps a damaged one.

        Args:
            key: As of ``ContentCache``.
        """
        return self._path(key).exists()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _read(self, key: str) -> bytes | None:
        """Content of a file; None if there is none, or it is damaged."""
        file_path = self._path(key)
        if not file_path.exists():
            return None
        stored = file_path.read_bytes()
        content = stored[_CHECKSUM_BYTES:]
        if stored[:_CHECKSUM_BYTES] != _checksum(content):
            _LOG.warning("A damaged file of the cache is made again: %s", file_path)
            return None
        os.utime(file_path)  # the time of its last use
        return content

    def _write(self, key: str, content: bytes) -> None:
        try:
            with replacing(self._path(key)) as draft_path:
                draft_path.write_bytes(_checksum(content) + content)
            self._remove_oldest()
        except OSError as error:
            _LOG.warning("The cache in %s cannot be written: %s", self.folder, error)

    def _remove_oldest(self) -> None:
        file_paths = sorted(self.folder.glob(f"*{_SUFFIX}"), key=_used_at_s, reverse=True)
        for file_path in file_paths[self.max_entries :]:
            file_path.unlink(missing_ok=True)


def _used_at_s(file_path: Path) -> float:
    """Time of a file's last use; 0 if another process has just removed it."""
    with suppress(FileNotFoundError):
        return file_path.stat().st_mtime
    return 0.0


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_CHECKSUM_BYTES).digest()


@contextmanager
def _locked(folder: Path, key: str) -> Iterator[None]:
    """Lock of a key across processes: one byte of one file, so that no lock files pile up."""
    folder.mkdir(parents=True, exist_ok=True)
    offset = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big")
    with (folder / _LOCK_FILE).open("wb") as lock_file:
        fcntl.lockf(lock_file, fcntl.LOCK_EX, 1, offset)
        yield
