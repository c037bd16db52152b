"""Integrity check of the loaded champion's bundle files."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chronotope.artifact.bundle import MANIFEST, Manifest, read_manifest
from chronotope.contracts.errors import ArtifactError
from chronotope.registry.champion import Champion

VERIFY_INTERVAL_S: Final = 600.0
"""Seconds after which all bytes are read again, though no file seems to have changed."""

_FileSignature = tuple[tuple[str, int, int, int], ...]


class BundleCheck:
    """Compares file status at every poll; reads all bytes after a change or an interval.

    The champion is in memory, so damage on disk does not reach it, but the next process could
    not load it.
    """

    def __init__(
        self,
        *,
        verify_interval_s: float = VERIFY_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without a checked champion.

        Args:
            verify_interval_s: Seconds after which all bytes are read again.
            clock: Monotonic clock, seconds.
        """
        self._verify_interval_s, self._clock = verify_interval_s, clock
        self._checked_champion: Champion | None = None
        self._file_signature: _FileSignature = ()
        self._next_check_s = 0.0
        self._last_problem: ArtifactError | None = None

    def file_problem(self, champion: Champion) -> ArtifactError | None:
        """Error of the champion's files; None if they are unchanged.

        Args:
            champion: The champion as it was loaded.
        """
        bundle_dir = champion.folder
        if bundle_dir is None:
            return None
        file_signature = _file_signature(bundle_dir, champion.model.manifest)
        is_unchanged = champion is self._checked_champion and file_signature == self._file_signature
        if not is_unchanged or self._clock() >= self._next_check_s:
            self._last_problem = _verify_manifest(champion, bundle_dir)
            self._checked_champion, self._file_signature = champion, file_signature
            self._next_check_s = self._clock() + self._verify_interval_s
        return self._last_problem


def _file_signature(bundle_dir: Path, manifest: Manifest) -> _FileSignature:
    """Size, modification time and inode of each file; -1 for a missing one."""
    file_names = (MANIFEST, *sorted(manifest.digests))
    return tuple((file_name, *_file_status(bundle_dir / file_name)) for file_name in file_names)


def _file_status(file_path: Path) -> tuple[int, int, int]:
    try:
        status = file_path.stat()
    except OSError:
        return -1, -1, -1
    return status.st_size, status.st_mtime_ns, status.st_ino


def _verify_manifest(champion: Champion, bundle_dir: Path) -> ArtifactError | None:
    try:
        bundle_manifest = read_manifest(bundle_dir)
    except ArtifactError as error:
        return error
    if bundle_manifest != champion.model.manifest:
        return ArtifactError("The manifest of the bundle was replaced", received=bundle_dir)
    return None
