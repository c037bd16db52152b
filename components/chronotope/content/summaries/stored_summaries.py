"""Summaries of the items, as the lake holds them."""

from dataclasses import dataclass

from chronotope.contracts import columns as c
from chronotope.lake import Lake
from chronotope.lake import table_schemas as t
from chronotope.lake.text_filter import text_equals


def read_summaries(item_lake: Lake) -> dict[str, str]:
    """Summaries of the items that have one, by ``item_id``.

    Args:
        item_lake: Lake of the dataset.
    """
    if not item_lake.exists("item_summaries"):
        return {}
    rows = item_lake.read("item_summaries", columns=[c.ITEM_ID, t.SUMMARY])
    summary_of = dict(zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True))
    return {item_id: item_summary for item_id, item_summary in summary_of.items() if item_summary}


@dataclass(frozen=True, slots=True)
class StoredSummary:
    """Summary of one item.

    Attributes:
        text: The summary.
        writer: ``extractive`` for sentences of the text, else the model that wrote it.
    """

    text: str
    writer: str


def read_summary(item_lake: Lake, item_id: str) -> StoredSummary | None:
    """Summary of one item; None if it has none.

    Args:
        item_lake: Lake of the dataset.
        item_id: The item.
    """
    if not item_lake.exists("item_summaries"):
        return None
    summary_rows = item_lake.dataset("item_summaries").to_table(
        columns=[t.SUMMARY, t.WRITER], filter=text_equals(c.ITEM_ID, item_id)
    )
    for summary_row in summary_rows.to_pylist():
        if summary_row[t.SUMMARY]:
            return StoredSummary(summary_row[t.SUMMARY], summary_row[t.WRITER].rpartition("@")[0])
    return None
