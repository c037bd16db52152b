"""Items that were posted to a service, as rows of the items table.

A posted item is a delivery as any other: its row is checked by the suite of the table and merged
by its id. What the source of the catalogue states stays; posted values fill what it leaves empty,
so that a later delivery of the source never erases them (``lake.posted_items``).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.schemas import ITEMS
from chronotope.lake import Lake
from chronotope.lake.posted_items import PostedItem, PostedItems, with_posted_fields
from chronotope.lake.text_filter import text_in
from chronotope.runtime.state import state_exists


def read_posted_items(database_path: Path) -> dict[str, PostedItem]:
    """Posted items of a dataset, by id; none if nothing was ever posted.

    Args:
        database_path: The log's file.

    Raises:
        StoreError: The log cannot be read.
    """
    if not state_exists(database_path):
        return {}
    posted_items = PostedItems(database_path)
    try:
        return posted_items.items()
    finally:
        posted_items.close()


def add_posted_rows(source_rows: pa.Table, posted: Mapping[str, PostedItem]) -> pa.Table:
    """Rows of a source, filled with posted values, and rows of items that it does not have.

    Args:
        source_rows: Rows of the items table as the source states them; may be empty.
        posted: Posted items by id.
    """
    if not posted:
        return source_rows
    posted_ids = pa.array(list(posted), pa.string())
    known_ids = source_rows[c.ITEM_ID].cast(pa.string()) if len(source_rows) else pa.array([])
    is_posted = pc.is_in(known_ids, value_set=posted_ids) if len(source_rows) else pa.array([])
    known_rows = source_rows.filter(is_posted).to_pylist() if len(source_rows) else []
    rows_by_id = {str(item_row[c.ITEM_ID]): item_row for item_row in known_rows}
    filled_rows = [
        with_posted_fields(rows_by_id.get(item_id, {}), posted_item)
        for item_id, posted_item in posted.items()
    ]
    posted_rows = _as_table(filled_rows, source_rows.schema if len(source_rows) else ITEMS)
    if not len(source_rows):
        return posted_rows
    other_rows = source_rows.filter(pc.invert(is_posted))
    return pa.concat_tables([other_rows, posted_rows], promote_options="permissive")


def posted_rows_to_merge(lake: Lake, posted: Mapping[str, PostedItem]) -> pa.Table:
    """Rows of posted items that differ from those of the lake.

    Args:
        lake: Lake of the dataset.
        posted: Posted items by id.
    """
    if not posted or not lake.exists("items"):
        return add_posted_rows(ITEMS.empty_table(), posted)
    item_dataset = lake.dataset("items")
    stored_rows = item_dataset.to_table(filter=text_in(c.ITEM_ID, list(posted))).to_pylist()
    stored_by_id = {str(item_row[c.ITEM_ID]): item_row for item_row in stored_rows}
    changed_rows = []
    for item_id, posted_item in posted.items():
        stored_row = stored_by_id.get(item_id)
        filled_row = with_posted_fields(stored_row or {}, posted_item)
        if filled_row != stored_row:
            changed_rows.append(filled_row)
    return _as_table(changed_rows, item_dataset.schema)


def _as_table(rows: Iterable[Mapping[str, Any]], known_schema: pa.Schema) -> pa.Table:
    """A table with the known columns; a column that is new to them is text."""
    row_list = list(rows)
    column_names = dict.fromkeys(column_name for item_row in row_list for column_name in item_row)
    new_fields = [
        pa.field(column_name, pa.string())
        for column_name in column_names
        if column_name not in known_schema.names
    ]
    known_fields = [
        pa.field(column_field.name, _plain_type(column_field.type)) for column_field in known_schema
    ]
    table_schema = pa.schema([*known_fields, *new_fields])
    column_arrays = [
        pa.array(
            [
                _converted(item_row.get(column_field.name), column_field.type)
                for item_row in row_list
            ],
            column_field.type,
        )
        for column_field in table_schema
    ]
    return pa.Table.from_arrays(column_arrays, schema=table_schema)


def _plain_type(column_type: pa.DataType) -> pa.DataType:
    """Type of a column that rows are written in: views of texts, and missing texts, are texts."""
    is_text = pa.types.is_string_view(column_type) or pa.types.is_null(column_type)
    return pa.string() if is_text else column_type


def _converted(column_value: Any, column_type: pa.DataType) -> Any:
    is_text = pa.types.is_string(column_type) or pa.types.is_large_string(column_type)
    return str(column_value) if is_text and column_value is not None else column_value
