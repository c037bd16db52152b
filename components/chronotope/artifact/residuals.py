"""What the codes of items leave out, in bytes on the disk: to rank a few candidates again.

A code says v^ of an item's v, both in the axes of its index; the rest r = v - v^ is short, so a
byte a number says it all but exactly, and

    <q', v> = <q', v^> + <q', r>

puts the candidates that codes have found in their true order.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from chronotope.artifact.item_index import ItemIndex, TopItems
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.event_log import Float32, Int64

N_CANDIDATES: Final = 256
"""The best by codes, ranked again."""

SCALE_BYTES: Final = 4
AT_ONCE: Final = 65_536


@dataclass(frozen=True, slots=True)
class Residuals:
    """One row an item; only the pages of rows that are read are in memory.

    Attributes:
        row: D' numbers and the float32 that they are multiples of, int8, shape (n + 1, D' + 4).
    """

    row: npt.NDArray[np.int8]

    @classmethod
    def of(cls, index: ItemIndex, vectors: Float32) -> Self:
        """What an index leaves out of the vectors it was built for.

        Args:
            index: Its codes.
            vectors: Of all indices, shape (n + 1, D).
        """
        into = np.linalg.pinv(index.axes.astype(np.float64))  # (D, D')
        row = np.zeros((len(vectors), len(index.axes) + SCALE_BYTES), np.int8)
        for start in range(1, len(vectors), AT_ONCE):
            items = np.arange(start, min(start + AT_ONCE, len(vectors)))
            left = vectors[items] @ into - index.told(items)
            scale = np.maximum(np.abs(left).max(1), 1e-12).astype(np.float32)[:, None] / 127
            row[items, :-SCALE_BYTES] = np.clip(np.rint(left / scale), -127, 127)
            row[items, -SCALE_BYTES:] = scale.astype("<f4").view(np.int8)
        return cls(row)

    def left(self, item_idx: Int64) -> Float32:
        """What is left of items, in the axes of the index, zeros for unknown ones, (..., D')."""
        inside = (item_idx >= 0) & (item_idx < len(self.row))
        row = self.row[np.where(inside, item_idx, 0)]
        left: Float32 = row[..., :-SCALE_BYTES] * row[..., -SCALE_BYTES:].copy().view("<f4")
        return left

    def scores(self, item_idx: Int64, asked: Float32) -> Float32:
        """What items get on top of the scores of their codes, shape (N,).

        Args:
            item_idx: Items, shape (N,).
            asked: The query in the axes of the index, shape (D',).
        """
        # a product of matrices may round equal rows apart
        scores: Float32 = (self.left(item_idx) * asked).sum(1, dtype=np.float32)
        return scores

    def again(self, found: TopItems, asked: Float32, k: int) -> TopItems:
        """The k best of what codes have found; of equals the smaller index first."""
        scores = found.score + self.scores(found.item_idx, asked)
        order = np.lexsort((found.item_idx, -scores))[:k]
        return TopItems(found.item_idx[order], scores[order], found.n_scored)

    def save(self, path: Path) -> None:
        """Write one plain array."""
        with path.open("wb") as file:
            np.save(file, self.row, allow_pickle=False)

    @classmethod
    def load(cls, path: Path, index: ItemIndex) -> Self:
        """Map what ``save`` wrote.

        Args:
            path: The file.
            index: Whose codes leave this out.

        Raises:
            ArtifactError: It is missing, damaged, or of another index.
        """
        try:
            row = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _unreadable(f"{path}: {error}") from error
        wanted = (index.n_items, len(index.axes) + SCALE_BYTES)
        if row.dtype != np.int8 or row.shape != wanted:
            raise _unreadable(f"{path}: {row.dtype} {row.shape}, wanted int8 {wanted}")
        return cls(row)


def _unreadable(received: str) -> ArtifactError:
    return ArtifactError(
        "The remainders of the items cannot be read",
        received=received,
        way_out="Download the version again, or train again",
    )
