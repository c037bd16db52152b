"""Calibration of a classifier: temperature, and the confidence that gives a wanted precision."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

_TEMPERATURES: Final = np.exp(np.linspace(np.log(0.2), np.log(5.0), 81))
_MIN_ITEMS: Final = 20
"""Validation items that a precision is measured on at least."""

Floats = npt.NDArray[np.floating]


def fit_temperature(logits: Floats, label_idx: npt.NDArray[np.int64], weights: Floats) -> float:
    """Temperature of the lowest cross-entropy (Guo et al. 2017).

    Args:
        logits: Shape (n, n_labels).
        label_idx: True labels, shape (n,).
        weights: Weight of each row, shape (n,).
    """
    row_idx = np.arange(len(label_idx))

    def cross_entropy(temperature: float) -> float:
        scaled_logits = logits / temperature
        scaled_logits = scaled_logits - scaled_logits.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(scaled_logits).sum(axis=1))
        return float(((log_sums - scaled_logits[row_idx, label_idx]) * weights).sum())

    return float(min(_TEMPERATURES, key=cross_entropy))


@dataclass(frozen=True, slots=True)
class ValidationConfidence:
    """Confidence of each held-back item, and whether its label was right.

    Attributes:
        confidence: Probability of the predicted label, shape (n,).
        is_right: Whether it is the true label, shape (n,).
    """

    confidence: npt.NDArray[np.float32]
    is_right: npt.NDArray[np.bool_]

    def threshold(self, min_precision: float) -> float | None:
        """Lowest confidence above which the wanted share of labels is right.

        Args:
            min_precision: Wanted share.

        Returns:
            The confidence; None if no confidence reaches it on 20 items.
        """
        confidence_order = np.argsort(-self.confidence, kind="stable")
        ordered_confidence = self.confidence[confidence_order]
        n_items = np.arange(1, len(confidence_order) + 1)
        running_precision = np.cumsum(self.is_right[confidence_order]) / n_items
        # Items of equal confidence are above a threshold together.
        is_last = np.append(ordered_confidence[1:] < ordered_confidence[:-1], True)
        is_enough = is_last & (running_precision >= min_precision) & (n_items >= _MIN_ITEMS)
        if not is_enough.any():
            return None
        return float(ordered_confidence[np.flatnonzero(is_enough)[-1]])

    def coverage(self, min_confidence: float) -> float:
        """Share of the items whose confidence reaches a threshold.

        Args:
            min_confidence: The threshold.
        """
        return float(np.mean(self.confidence >= min_confidence)) if len(self.confidence) else 0.0

    def precision(self, min_confidence: float) -> float:
        """Share of right labels among the items above a threshold; NaN if there is none.

        Args:
            min_confidence: The threshold.
        """
        is_above = self.confidence >= min_confidence
        return float(self.is_right[is_above].mean()) if is_above.any() else float("nan")
