"""Summaries of the items, as the lake holds them."""

from chronotope.contracts import columns as c
from chronotope.lake import Lake
from chronotope.lake import table_schemas as t


def read_summaries(item_lake: Lake) -> dict[str, str]:
    """Summaries of the items that have one, by ``item_id``.

    Args:
        item_lake: Lake of the dataset.
    """
    if not item_lake.exists("item_summaries"):
        return {}
    rows = item_lake.read("item_summaries", columns=[c.ITEM_ID, t.SUMMARY])
    return dict(zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True))
