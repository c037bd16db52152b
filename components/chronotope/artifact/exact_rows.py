"""Rows of a large catalogue in bytes, left on the disk: to rank a few candidates again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from chronotope.artifact.item_index import Found
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.eventlog import Float32


@dataclass(frozen=True, slots=True)
class ExactRows:
    """A table with one scale a row; only the pages of rows that are read are in memory.

    Attributes:
        number: int8, shape (n + 1, D); a value is ``number * scale``.
        scale: float32, shape (n + 1,).
    """

    number: npt.NDArray[np.int8]
    scale: Float32

    @classmethod
    def of(cls, vectors: Float32) -> Self:
        """Round each row to 255 steps of its own size."""
        scale = np.maximum(np.abs(vectors).max(1) / np.float32(127), np.float32(1e-12))
        return cls(np.rint(vectors / scale[:, None]).astype(np.int8), scale.astype(np.float32))

    def again(self, found: Found, query: Float32, k: int) -> Found:
        """The k best of what codes found, by these rows; of equals the smaller index first."""
        rows = found.item_idx
        # a product of matrices may round equal rows apart
        scores = (self.number[rows] * query).sum(1) * self.scale[rows]
        order = np.lexsort((rows, -scores))[:k]
        return Found(rows[order], scores[order].astype(np.float32), found.n_scored)

    def save(self, folder: Path) -> None:
        """Write two files of plain arrays."""
        np.save(folder / "rows.npy", self.number, allow_pickle=False)
        np.save(folder / "rows_scale.npy", self.scale, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map what ``save`` wrote.

        Raises:
            ArtifactError: It is missing, damaged or something else.
        """
        try:
            number = np.load(folder / "rows.npy", mmap_mode="r", allow_pickle=False)
            scale = np.load(folder / "rows_scale.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _unreadable(f"{folder}: {error}") from error
        if number.dtype != np.int8 or number.ndim != 2 or scale.shape != number.shape[:1]:
            raise _unreadable(f"{folder}: {number.dtype} {number.shape}, scales {scale.shape}")
        return cls(number, scale)


def _unreadable(received: str) -> ArtifactError:
    return ArtifactError(
        "The rows of the items cannot be read",
        received=received,
        way_out="Download the version again, or train again",
    )
