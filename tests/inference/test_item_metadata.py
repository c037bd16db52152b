"""Categories of the items: given ones, and predicted ones where none is given."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from chronotope.artifact.bundle import Vocabulary
from chronotope.contracts.ids import IdMap
from chronotope.inference.item_metadata import read_item_metadata
from chronotope.lake import Lake


def test_a_predicted_category_stands_for_a_missing_one_if_it_is_used(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    item_ids = ["bun", "rye", "tea"]
    categories = pa.array(["bakery", None, None])
    lake.upsert_items(
        pa.table(
            {"item_id": item_ids, "category": categories, "lat": [1.0, 2, 3], "lon": [0.0] * 3}
        )
    )
    texts = {"label_id": item_ids, "item_id": item_ids, "label": ["toys", "bakery", "drinks"]}
    constants = {
        "column": "category",
        "origin": "predicted",
        "model_digest": "",
        "input_digest": "",
    }
    lake.upsert_keyed(
        "item_labels",
        pa.table(
            texts
            | {name: [value] * 3 for name, value in constants.items()}
            | {
                "is_used": [True, True, False],
                "confidence": pa.array([0.7, 0.83, 0.2], pa.float32()),
            }
        ),
    )
    items = IdMap.of(pa.array(item_ids))
    metadata = read_item_metadata(lake, Vocabulary(items, items, items, [""] * 4))
    names = [metadata.categories.name(idx) for idx in metadata.category_idx]
    assert names == [None, "bakery", "bakery", None]
    assert metadata.confidences(np.arange(4)) == [None, None, 0.83, None]


def test_without_predicted_categories_no_confidence_is_stored(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.upsert_items(pa.table({"item_id": ["tea"], "category": ["drinks"]}))
    items = IdMap.of(pa.array(["tea"]))
    metadata = read_item_metadata(lake, Vocabulary(items, items, items, [""] * 2))
    assert metadata.category_confidence is None
    assert metadata.confidences(np.array([0, 1])) == [None, None]
