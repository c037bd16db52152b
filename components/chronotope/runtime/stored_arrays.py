"""Archives of named arrays: atomic writes, checksums verified on read.

A zip archive has a checksum for each array, but none for the set of arrays, so a digest of all
names and values is stored as well.
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


def save_arrays(arrays_path: Path, **arrays: npt.NDArray[Any]) -> None:
    """Write named arrays to an archive; it is on the disk when this returns.

    Args:
        arrays_path: The file, an archive as ``numpy.savez`` writes it.
        **arrays: Arrays to store; no object dtype.
    """
    with replacing(arrays_path) as draft_path, draft_path.open("wb") as array_file:
        content_digest = np.frombuffer(_digest(arrays), np.uint8)
        np.savez(array_file, allow_pickle=False, **{**arrays, _DIGEST: content_digest})


def load_arrays(arrays_path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read all arrays of an archive of ``save_arrays``.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    try:
        with (
            arrays_path.open("rb") as array_file,
            np.load(array_file, allow_pickle=False) as stored_arrays,
        ):
            arrays = {array_name: stored_arrays[array_name] for array_name in stored_arrays.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error,
            NotImplementedError, RuntimeError) as error:  # fmt: skip
        raise _damaged(arrays_path, str(error)) from error
    if arrays.pop(_DIGEST, np.empty(0)).tobytes() != _digest(arrays):
        raise _damaged(arrays_path, "the arrays differ from their digest")
    return arrays


def _digest(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    content_digest = hashlib.blake2b(digest_size=16)
    for array_name in sorted(arrays):
        array = np.ascontiguousarray(arrays[array_name])
        content_digest.update(f"{array_name} {array.dtype.str} {array.shape}\n".encode())
        content_digest.update(array.tobytes())
    return content_digest.digest()


def _damaged(arrays_path: Path, damage_text: str) -> ArtifactError:
    return ArtifactError(
        "Arrays of a run cannot be read",
        received=f"{arrays_path}: {damage_text}",
        way_out=f"Delete the folder {arrays_path.parent} and train again, which creates it anew",
    )
