"""Section of the report on the item context: the worth of each column."""

from collections.abc import Sequence

from chronotope.content.column_worth import ColumnWorth
from chronotope.contracts.escaping import html_text
from chronotope.report.html_parts import estimate, section, table
from chronotope.report.report_data import Estimate, ItemContextRow, ReportData


def item_context_section(report_data: ReportData) -> str:
    """Table of what is lost without each column; empty without any."""
    if not report_data.item_context:
        return ""
    table_rows = [
        (
            [
                html_text(row.name),
                estimate(row.lost),
                estimate(row.new_lost),
                estimate(row.lost_log),
                estimate(row.new_lost_log),
                "used" if row.kept else "dropped",
            ],
            False,
        )
        for row in report_data.item_context
    ]
    caption = (
        "Lost on later events when every item has the default of the column, with 95 % intervals: "
        "MRR, and log of the probability of the target in nats, at all targets and at discoveries "
        "among the items that are new to the user. A column is used if one interval lies above "
        "zero and none below it."
    )
    column_heads = [
        "Column",
        "MRR lost",
        "Among new items",
        "Log probability lost",
        "Among new items",
        "Verdict",
    ]
    return section("Item context", table(caption, column_heads, table_rows))


def item_context_rows(columns: Sequence[ColumnWorth]) -> tuple[ItemContextRow, ...]:
    """Rows of the table for the columns that a training measured."""
    return tuple(
        ItemContextRow(
            name=worth.name,
            lost=Estimate(value=worth.value, low=worth.low, high=worth.high),
            new_lost=Estimate(value=worth.new_value, low=worth.new_low, high=worth.new_high),
            lost_log=Estimate(value=worth.log_value, low=worth.log_low, high=worth.log_high),
            new_lost_log=Estimate(
                value=worth.new_log_value, low=worth.new_log_low, high=worth.new_log_high
            ),
            kept=worth.helps,
        )
        for worth in columns
    )
