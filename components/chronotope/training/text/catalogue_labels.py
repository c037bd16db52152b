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
    labelled_items = _labelled_items(item_lake, column, classify_spec)
    label_counts = Counter(item_label for _, _, item_label in labelled_items)
    label_names = tuple(
        sorted(
            item_label
            for item_label, n_items in label_counts.items()
            if n_items >= config.min_label_items
        )
    )
    if len(label_names) < 2:
        raise NotEnoughData(
            f"Too few items have a value in {column!r} to train a classifier",
            received=f"{len(labelled_items):,} items with a value; {len(label_names)} values have "
            f"{config.min_label_items} items",
            way_out="Two values with so many items are needed; give more items a value",
        )
    idx_by_label = {item_label: label_idx for label_idx, item_label in enumerate(label_names)}
    split_parts: tuple[list[tuple[str, int]], list[tuple[str, int]]] = ([], [])
    for item_id, item_text, item_label in labelled_items:
        if item_label in idx_by_label:
            is_validation = _share(item_id, config.seed) < config.validation_share
            split_parts[is_validation].append((item_text, idx_by_label[item_label]))
    train, validation = (
        LabelledTexts.of(
            [item_text for item_text, _ in split_part],
            np.array([label_idx for _, label_idx in split_part], np.int64),
        )
        for split_part in split_parts
    )
    return LabelledCatalogue(label_names, train, validation)


def _labelled_items(
    item_lake: Lake, column: str, classify_spec: ClassifySpec
) -> list[tuple[str, str, str]]:
    """Id, text and label of each item that has both, in the order of the ids."""
    item_reader = text_reader(classify_spec)
    item_stride = -(-item_lake.dataset("items").count_rows() // MAX_ITEMS)
    labelled_items: list[tuple[str, str, str]] = []
    item_position = 0
    for item_rows in item_batches(item_lake, [*item_reader.columns, column]):
        for item_row in item_rows:
            item_label, item_input = item_row[column], item_reader.read(item_row)
            if (
                item_position % item_stride == 0
                and item_label is not None
                and item_input.raw is not None
            ):
                labelled_items.append(
                    (str(item_row[c.ITEM_ID]), str(item_input.raw), str(item_label))
                )
            item_position += 1
    # The order of rows in the lake is not fixed; equal items have to give an equal classifier.
    return sorted(labelled_items)


def _share(item_id: str, seed: int) -> float:
    """Number from 0 to 1 that an item keeps."""
    content = f"{seed}\n{item_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big") / 2**64
