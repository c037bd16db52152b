"""Texts with labels; equal ones are one row with its number of items."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """Different texts with their labels.

    Attributes:
        texts: Cleaned texts.
        label_idx: Label of each, shape (n,).
        n_items: Number of items with this text and label, shape (n,).
    """

    texts: Sequence[str]
    label_idx: Integers
    n_items: Weights

    @classmethod
    def of(cls, texts: Sequence[str], label_idx: Integers) -> "LabelledTexts":
        """Equal texts with equal labels become one row.

        Args:
            texts: Cleaned texts.
            label_idx: Label of each, shape (n,).
        """
        text_counts: dict[tuple[str, int], int] = {}
        for text_key in zip(texts, label_idx.tolist(), strict=True):
            text_counts[text_key] = text_counts.get(text_key, 0) + 1
        return cls(
            [unique_text for unique_text, _ in text_counts],
            np.array([text_label for _, text_label in text_counts], dtype=np.int64),
            np.array(list(text_counts.values()), dtype=np.float32),
        )

    def sample(self, max_texts: int, seed: int) -> "LabelledTexts":
        """At most so many rows, at random; their order stays.

        Args:
            max_texts: Largest number of rows.
            seed: Seed of the choice.
        """
        if len(self.texts) <= max_texts:
            return self
        chosen_rows = np.sort(
            np.random.default_rng(seed).choice(len(self.texts), max_texts, replace=False)
        )
        return LabelledTexts(
            [self.texts[text_row] for text_row in chosen_rows],
            self.label_idx[chosen_rows],
            self.n_items[chosen_rows],
        )
