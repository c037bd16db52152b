"""Metrics of classifiers: macro-F1, accuracy, and the labels that are confused most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]


def macro_f1(true_idx: Labels, predicted_idx: Labels, *, weights: Weights | None = None) -> float:
    r"""Mean of the F1 scores of the labels that occur among the true ones.

    ``F1 = 2 TP / (2 TP + FP + FN)``; a label that is never predicted has 0.

    Args:
        true_idx: True labels, shape (n,).
        predicted_idx: Predicted labels, shape (n,).
        weights: Weight of each row, such as its number of equal items; 1 by default.

    Example:
        >>> macro_f1(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]))
        0.7333333333333334
    """
    row_weights = np.ones(len(true_idx)) if weights is None else weights
    n_labels = int(max(true_idx.max(initial=-1), predicted_idx.max(initial=-1))) + 1
    n_true = np.bincount(true_idx, row_weights, n_labels)
    n_predicted = np.bincount(predicted_idx, row_weights, n_labels)
    is_right = true_idx == predicted_idx
    n_right = np.bincount(true_idx[is_right], row_weights[is_right], n_labels)
    is_present = n_true > 0
    if not is_present.any():
        return float("nan")
    return float(np.mean(2 * n_right[is_present] / (n_true + n_predicted)[is_present]))


@dataclass(frozen=True, slots=True)
class ConfusedLabels:
    """Items of one label that are predicted as another.

    Attributes:
        true_label: Their label.
        predicted_label: The prediction.
        n_items: Their number.
    """

    true_label: str
    predicted_label: str
    n_items: int


def most_confused(
    true_idx: Labels, predicted_idx: Labels, label_names: Sequence[str], n_pairs: int = 20
) -> tuple[ConfusedLabels, ...]:
    """Pairs of labels that are confused most often, most frequent first.

    Args:
        true_idx: True labels, shape (n,).
        predicted_idx: Predicted labels, shape (n,).
        label_names: Names by index.
        n_pairs: Largest number of pairs.
    """
    is_wrong = true_idx != predicted_idx
    label_pairs, n_items = np.unique(
        np.stack([true_idx[is_wrong], predicted_idx[is_wrong]], axis=1), axis=0, return_counts=True
    )
    frequency_order = np.argsort(-n_items, kind="stable")[:n_pairs]
    return tuple(
        ConfusedLabels(
            label_names[label_pairs[pair_row, 0]],
            label_names[label_pairs[pair_row, 1]],
            int(n_items[pair_row]),
        )
        for pair_row in frequency_order
    )
