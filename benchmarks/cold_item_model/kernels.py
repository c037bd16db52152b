"""Similarity of items by their content: one kernel for each view of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ContentView:
    """Features of items from one source, such as their genres or the vectors of their texts.

    Attributes:
        name: Name of the view.
        features: Shape (n_items, d); a row of zeros or with NaN says that the item has none.
        kernel: ``cosine`` of the angle between centred rows, for embeddings; ``rbf`` of their
            distance, for numbers and for categories as zeros and ones.
        width: Width of ``rbf``, as a multiple of the features' standard deviation.
    """

    name: str
    features: Matrix
    kernel: Literal["cosine", "rbf"] = "cosine"
    width: float = 0.7

    def rows(self, row_idx: npt.NDArray[np.integer]) -> Self:
        """The same view of some items.

        Args:
            row_idx: Positions of the items.
        """
        return type(self)(self.name, self.features[row_idx], self.kernel, self.width)


@dataclass(frozen=True, slots=True)
class FittedKernel:
    """Kernel of one view against fixed items.

    Attributes:
        view: The fixed items.
        centre: Mean of their features, shape (d,).
        scale: Standard deviation of their features, all columns together.
    """

    view: ContentView
    centre: Matrix
    scale: float

    @classmethod
    def fit(cls, view: ContentView) -> Self:
        """Kernel against the items of a view.

        Args:
            view: The items.
        """
        present_rows = view.features[_is_present(view.features)]
        if not len(present_rows):
            return cls(view, np.zeros(view.features.shape[1]), 1.0)
        scale = float(np.sqrt(present_rows.var(axis=0).sum()))
        return cls(view, present_rows.mean(axis=0), scale or 1.0)

    def similarity(self, features: Matrix) -> Matrix:
        """Similarity of items to the fixed ones, shape (n, n_fixed); 0 where one has no content.

        Args:
            features: Shape (n, d).
        """
        fixed_features = self.view.features
        is_pair = np.outer(_is_present(features), _is_present(fixed_features))
        left_rows, right_rows = (
            np.nan_to_num(rows - self.centre) for rows in (features, fixed_features)
        )
        if self.view.kernel == "cosine":
            similarity = _unit_rows(left_rows) @ _unit_rows(right_rows).T
        else:
            squared_distances = (
                (left_rows**2).sum(1)[:, None]
                + (right_rows**2).sum(1)
                - 2 * left_rows @ right_rows.T
            )
            kernel_spread = 2 * (self.view.width * self.scale) ** 2
            similarity = np.exp(-np.maximum(squared_distances, 0.0) / kernel_spread)
        return np.asarray(np.where(is_pair, similarity, 0.0))


def weighted_sum(matrices: Sequence[Matrix], weights: Sequence[float]) -> Matrix:
    """Sum of the kernels of several views.

    Args:
        matrices: Kernels of equal shape.
        weights: Weight of each; 0 leaves a view out.
    """
    kernel_sum = np.zeros_like(matrices[0])
    for matrix, weight in zip(matrices, weights, strict=True):
        if weight:
            kernel_sum += weight * matrix
    return kernel_sum


def _is_present(features: Matrix) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(features).all(1) & (features != 0).any(1))


def _unit_rows(rows: Matrix) -> Matrix:
    row_lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(
        np.divide(rows, row_lengths, out=np.zeros_like(rows), where=row_lengths > 1e-12)
    )
