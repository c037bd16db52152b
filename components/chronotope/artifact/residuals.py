"""Quantisation residuals of item vectors on disk, for an exact second ranking of candidates.

The codes of an index decode to v^ for an item vector v, both in the axes of the index. The
residual r = v - v^ is small: one byte a number, with a scale a row, is nearly exact, and

    <q', v> = <q', v^> + <q', r>

puts the candidates that the codes found in their exact order.
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
"""Number of the best items by codes that are ranked again."""

SCALE_BYTES: Final = 4
BLOCK_ROWS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Residuals:
    """Residuals of all items, one row each; only pages that are read are in memory.

    Attributes:
        packed_rows: D' int8 numbers and their float32 scale, int8, shape (n + 1, D' + 4).
    """

    packed_rows: npt.NDArray[np.int8]

    @classmethod
    def from_vectors(cls, index: ItemIndex, item_vectors: Float32) -> Self:
        """Residuals of the vectors an index was built for.

        Args:
            index: Codes of the items.
            item_vectors: Vectors of all indices, shape (n + 1, D).
        """
        to_index_axes = np.linalg.pinv(index.projection.astype(np.float64))  # (D, D')
        row_bytes = len(index.projection) + SCALE_BYTES
        packed_rows = np.zeros((len(item_vectors), row_bytes), np.int8)
        for start in range(1, len(item_vectors), BLOCK_ROWS):
            item_idx = np.arange(start, min(start + BLOCK_ROWS, len(item_vectors)))
            residuals = item_vectors[item_idx] @ to_index_axes - index.decode(item_idx)
            max_abs = np.maximum(np.abs(residuals).max(1), 1e-12)
            row_scale = max_abs.astype(np.float32)[:, None] / 127
            packed_rows[item_idx, :-SCALE_BYTES] = np.clip(
                np.rint(residuals / row_scale), -127, 127
            )
            packed_rows[item_idx, -SCALE_BYTES:] = row_scale.astype("<f4").view(np.int8)
        return cls(packed_rows)

    def decode(self, item_idx: Int64) -> Float32:
        """Residuals in the axes of the index, zeros for unknown items, shape (..., D')."""
        is_inside = (item_idx >= 0) & (item_idx < len(self.packed_rows))
        packed = self.packed_rows[np.where(is_inside, item_idx, 0)]  # (..., D' + 4)
        row_scale = packed[..., -SCALE_BYTES:].copy().view("<f4")  # (..., 1)
        residuals: Float32 = packed[..., :-SCALE_BYTES] * row_scale
        return residuals

    def scores(self, item_idx: Int64, projected_query: Float32) -> Float32:
        """Corrections of the scores by codes, shape (N,).

        Args:
            item_idx: Items, shape (N,).
            projected_query: The query in the axes of the index, shape (D',).
        """
        # a matrix product may round equal rows differently
        corrections: Float32 = (self.decode(item_idx) * projected_query).sum(1, dtype=np.float32)
        return corrections

    def rerank(self, top_items: TopItems, projected_query: Float32, k: int) -> TopItems:
        """The k best of the items found by codes; of equal scores the smaller index first."""
        exact_scores = top_items.score + self.scores(top_items.item_idx, projected_query)
        order = np.lexsort((top_items.item_idx, -exact_scores))[:k]
        return TopItems(top_items.item_idx[order], exact_scores[order], top_items.n_scored)

    def save(self, file_path: Path) -> None:
        """Write one plain array."""
        with file_path.open("wb") as file:
            np.save(file, self.packed_rows, allow_pickle=False)

    @classmethod
    def load(cls, file_path: Path, index: ItemIndex) -> Self:
        """Memory-map the file that ``save`` wrote.

        Args:
            file_path: The file.
            index: The index whose residuals these are.

        Raises:
            ArtifactError: The file is missing, damaged, or of another index.
        """
        try:
            packed_rows = np.load(file_path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _unreadable(f"{file_path}: {error}") from error
        expected_shape = (index.n_items, len(index.projection) + SCALE_BYTES)
        if packed_rows.dtype != np.int8 or packed_rows.shape != expected_shape:
            raise _unreadable(
                f"{file_path}: {packed_rows.dtype} {packed_rows.shape}, "
                f"expected int8 {expected_shape}"
            )
        return cls(packed_rows)


def _unreadable(received: str) -> ArtifactError:
    return ArtifactError(
        "The residuals of the items cannot be read",
        received=received,
        way_out="Download the version again, or train again",
    )
