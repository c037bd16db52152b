"""Whether the files of the champion that answers are still what was opened."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chronotope.artifact.bundle import MANIFEST, Manifest, read_manifest
from chronotope.contracts.errors import ArtifactError
from chronotope.registry.champion import Champion

VERIFY_S: Final = 600.0
"""Seconds after which all bytes are read again, though no file seems to have changed."""

_Signature = tuple[tuple[str, int, int, int], ...]


class BundleCheck:
    """Looks at the files at every look, and reads them when one has changed, or after a while.

    What answers was read into memory when it was opened: damage on the disk does not reach it,
    but the next process could not open it.
    """

    def __init__(
        self, *, verify_s: float = VERIFY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Know of no champion yet.

        Args:
            verify_s: Seconds after which all bytes are read again.
            clock: Seconds that only grow.
        """
        self._verify_s, self._clock = verify_s, clock
        self._champion: Champion | None = None
        self._signature: _Signature = ()
        self._until = 0.0
        self._problem: ArtifactError | None = None

    def problem(self, champion: Champion) -> ArtifactError | None:
        """What is wrong with the files of the champion that answers; None if nothing is.

        Args:
            champion: The champion, as it was opened.
        """
        folder = champion.folder
        if folder is None:
            return None
        signature = _signature(folder, champion.model.manifest)
        same = champion is self._champion and signature == self._signature
        if not same or self._clock() >= self._until:
            self._problem = _problem(champion, folder)
            self._champion, self._signature = champion, signature
            self._until = self._clock() + self._verify_s
        return self._problem


def _signature(folder: Path, manifest: Manifest) -> _Signature:
    """Size, time and number of each file; -1 for one that is not there."""
    return tuple((name, *_status(folder / name)) for name in (MANIFEST, *sorted(manifest.digests)))


def _status(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1, -1
    return status.st_size, status.st_mtime_ns, status.st_ino


def _problem(champion: Champion, folder: Path) -> ArtifactError | None:
    try:
        manifest = read_manifest(folder)
    except ArtifactError as error:
        return error
    if manifest != champion.model.manifest:
        return ArtifactError("The manifest of the bundle was replaced", received=folder)
    return None
