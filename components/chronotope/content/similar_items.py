"""Items with the most similar content, whose tables stand for those of an item without events."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.item_content import Float32, ItemContent

N_SIMILAR: Final = 20
"""Items with events whose weighted mean stands for an item without."""

MAX_COMPARED: Final = 5_000
"""Items with events that are compared; of more of them every k-th."""

SHARPNESS: Final = 4
"""Exponent of the cosine in the weights: the closest items count most."""

_BLOCK: Final = 2_048
"""Items compared with the others at once."""

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SimilarItems:
    """For items without events, the items with events whose content is most similar.

    Attributes:
        item_idx: Items without events that have content, int64, shape (n_cold,).
        similar_idx: Their most similar items, int64, shape (n_cold, N).
        weights: Weights of these, with sum 1, float32, shape (n_cold, N).
    """

    item_idx: Int64
    similar_idx: Int64
    weights: Float32

    def rows(self, table: Float32, *, axis: int = 0) -> Float32:
        """Weighted mean of the similar items' entries, one entry an item of ``item_idx``.

        Args:
            table: Table with an axis of items.
            axis: That axis.

        Returns:
            The table's shape, with n_cold entries on the axis.
        """
        similar_entries = np.moveaxis(table, axis, 0)[self.similar_idx]  # (n_cold, N, ...)
        similar_weights = self.weights.reshape(
            *self.weights.shape, *[1] * (similar_entries.ndim - 2)
        )
        mean_entries = (
            (similar_entries * similar_weights).sum(axis=1).astype(table.dtype)
        )  # (n_cold, ...)
        return np.moveaxis(mean_entries, 0, axis)

    def fill(self, table: Float32, *, axis: int = 0) -> Float32:
        """Copy of a table in which items without events have the mean of the similar ones.

        Args:
            table: Table with an axis of all items.
            axis: That axis.
        """
        filled_table = table.copy()
        items_first = np.moveaxis(filled_table, axis, 0)  # a view
        items_first[self.item_idx] = np.moveaxis(self.rows(table, axis=axis), axis, 0)
        return filled_table


def similar_items(content: ItemContent, is_warm: npt.NDArray[np.bool_]) -> SimilarItems:
    """Find the most similar items with events of every item that has content but no events.

    Args:
        content: Content of the catalogue; index 0 is the unknown item.
        is_warm: Whether each item has events, shape (n_items,).
    """
    unit_vectors = content.unit_blocks()
    has_content = np.asarray(unit_vectors.any(axis=1))
    has_content[:1] = False
    cold_idx = np.flatnonzero(has_content & ~is_warm)
    return _nearest(unit_vectors, cold_idx, np.flatnonzero(has_content & is_warm))


def _nearest(vectors: Float32, cold_idx: Int64, warm_idx: Int64) -> SimilarItems:
    warm_idx = warm_idx[:: max(1, -(-len(warm_idx) // MAX_COMPARED))]
    n_similar = min(N_SIMILAR, len(warm_idx))
    if not len(cold_idx) or not n_similar:
        return SimilarItems(
            np.empty(0, np.int64), np.empty((0, 0), np.int64), np.empty((0, 0), np.float32)
        )
    similar_idx = np.empty((len(cold_idx), n_similar), np.int64)
    similar_weights = np.empty((len(cold_idx), n_similar), np.float32)
    warm_vectors = vectors[warm_idx]
    for block_start in range(0, len(cold_idx), _BLOCK):
        block_rows = slice(block_start, block_start + _BLOCK)
        block_similarity = vectors[cold_idx[block_rows]] @ warm_vectors.T  # (block, n_warm)
        nearest_columns = np.argpartition(-block_similarity, n_similar - 1, axis=1)[:, :n_similar]
        similar_idx[block_rows] = warm_idx[nearest_columns]
        nearest_cosines = np.take_along_axis(block_similarity, nearest_columns, axis=1)
        sharpened_cosines = np.maximum(nearest_cosines, 1e-3) ** SHARPNESS
        similar_weights[block_rows] = sharpened_cosines / sharpened_cosines.sum(
            axis=1, keepdims=True
        )
    return SimilarItems(cold_idx, similar_idx, similar_weights)
