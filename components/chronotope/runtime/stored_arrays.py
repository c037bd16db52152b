"""Named arrays on a disk: whole or not at all, and not believed once a byte has changed.

The archive has a checksum for each array, but none for which arrays there are.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import ArtifactError
from chronotope.runtime.durable_files import replacing

_DIGEST: Final = "digest"


def save_arrays(path: Path, **arrays: npt.NDArray[Any]) -> None:
    """Write arrays by their names; on the disk when this returns.

    Args:
        path: The file, an archive as ``numpy.savez`` writes it.
        **arrays: What to keep; no objects.
    """
    with replacing(path) as draft, draft.open("wb") as file:
        digest = np.frombuffer(_digest(arrays), np.uint8)
        np.savez(file, allow_pickle=False, **{**arrays, _DIGEST: digest})


def load_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read what ``save_arrays`` wrote, all of it.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error,
            NotImplementedError, RuntimeError) as error:  # fmt: skip
        raise _damaged(path, str(error)) from error
    if arrays.pop(_DIGEST, np.empty(0)).tobytes() != _digest(arrays):
        raise _damaged(path, "the arrays differ from their digest")
    return arrays


def _digest(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.digest()


def _damaged(path: Path, reason: str) -> ArtifactError:
    return ArtifactError(
        "Arrays of a run cannot be read",
        received=f"{path}: {reason}",
        way_out=f"Delete the folder {path.parent} and train again: it is made anew",
    )
