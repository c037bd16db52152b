"""A promotion in a lake, and the column that a model reads it by."""

from datetime import datetime
from pathlib import Path
from typing import Final

import pyarrow as pa

from chronotope.contracts.item_context import ItemContextColumn
from chronotope.contracts.schemas import ITEM_CONTEXT
from chronotope.lake import Lake
from chronotope.lake.table_schemas import ITEM_CONTEXT_TABLE
from chronotope.runtime.workspace import Workspace

PROMO: Final = ItemContextColumn(name="promo", first=1, levels=("a",), default="no")


def add_promotion(
    root: Path, dataset: str, item_id: str, valid_from: datetime, valid_until: datetime
) -> None:
    """Promote an item everywhere."""
    schema = pa.schema([*ITEM_CONTEXT, pa.field("promo", pa.string())])
    row = {
        "item_id": item_id,
        "place_id": "",
        "valid_from": valid_from,
        "valid_until": valid_until,
        "promo": "a",
    }
    rows = pa.Table.from_pylist([row], schema)
    Lake(Workspace(root).lake(dataset)).upsert_keyed(ITEM_CONTEXT_TABLE, rows)
