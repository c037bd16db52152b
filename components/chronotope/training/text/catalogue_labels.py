"""Training and validation texts of a classifier, from the catalogue in the lake."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

from chronotope.content.embed_items import item_batches
from chronotope.content.labels.classify_items import text_reader
from chronotope.contracts import columns as c
from chronotope.contracts.errors import NotEnoughData
from chronotope.datasets.content_spec import ClassifySpec
from chronotope.lake import Lake
from chronotope.training.text.config import TextClassifierConfig
from chronotope.training.text.labelled_texts import LabelledTexts

MAX_ITEMS: Final = 400_000
"""Items that are read; of a larger catalogue every k-th one."""


@dataclass(frozen=True, slots=True)
class LabelledCatalogue:
    """Labelled items, split at random by their ids.

    Attributes:
        labels: Names of the labels by index.
        train: Texts to learn.
        validation: Texts of other items.
    """

    labels: tuple[str, ...]
    train: LabelledTexts
    validation: LabelledTexts


def read_labelled_catalogue(
    item_lake: Lake, column: str, classify_spec: ClassifySpec, config: TextClassifierConfig
) -> LabelledCatalogue:
    """Items with a label and a text; the split is the same each time.

    Args:
        item_lake: Lake of the dataset.
        column: Column of the labels.
        classify_spec: Source of the texts.
        config: Share of the validation, and the smallest label.

    Raises:
        NotEnoughData: Fewer than two labels have enough items.
    """
    reader = text_reader(classify_spec)
    stride = -(-item_lake.dataset("items").count_rows() // MAX_ITEMS)
    labelled: list[tuple[str, str, str]] = []
    position = 0
    for item_rows in item_batches(item_lake, [*reader.columns, column]):
        for item_row in item_rows:
            label, item_input = item_row[column], reader.read(item_row)
            if position % stride == 0 and label is not None and item_input.raw is not None:
                labelled.append((str(item_row[c.ITEM_ID]), str(item_input.raw), str(label)))
            position += 1
    # The order of rows in the lake is not fixed; equal items have to give an equal classifier.
    labelled.sort()
    counts = Counter(label for _, _, label in labelled)
    labels = tuple(
        sorted(label for label, n_items in counts.items() if n_items >= config.min_label_items)
    )
    if len(labels) < 2:
        raise NotEnoughData(
            f"Too few items have a value in {column!r} to train a classifier",
            received=f"{len(labelled):,} items with a value; {len(labels)} values have "
            f"{config.min_label_items} items",
            way_out="Two values with so many items are needed; give more items a value",
        )
    idx_by_label = {label: idx for idx, label in enumerate(labels)}
    parts: tuple[list[tuple[str, int]], list[tuple[str, int]]] = ([], [])
    for item_id, text, label in labelled:
        if label in idx_by_label:
            is_validation = _share(item_id, config.seed) < config.validation_share
            parts[is_validation].append((text, idx_by_label[label]))
    train, validation = (
        LabelledTexts.of([text for text, _ in part], np.array([idx for _, idx in part], np.int64))
        for part in parts
    )
    return LabelledCatalogue(labels, train, validation)


def _share(item_id: str, seed: int) -> float:
    """Number from 0 to 1 that an item keeps."""
    content = f"{seed}\n{item_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big") / 2**64
