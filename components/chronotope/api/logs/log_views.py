"""A log as a data frame and as a card of a notebook."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from chronotope.api import html
from chronotope.api.logs.frame_spec import ID_COLUMNS, restored_ids
from chronotope.contracts import columns as c

if TYPE_CHECKING:
    import pandas as pd

    from chronotope.api.logs.log import Log


def events_frame(event_rows: pa.Table, id_types: Mapping[str, pa.DataType]) -> "pd.DataFrame":
    """Events by time with contract column names; columns without a value left out.

    Args:
        event_rows: Rows in the schema of the lake.
        id_types: Types of the ids in the user's frame.
    """
    event_rows = event_rows.sort_by([(c.OCCURRED_AT, "ascending"), (c.EVENT_ID, "ascending")])
    column_names = [
        column_name
        for column_name in event_rows.column_names
        if column_name != c.EVENT_ID and event_rows[column_name].null_count < len(event_rows)
    ]
    frame = event_rows.select(column_names).to_pandas()
    for column_name in set(ID_COLUMNS) & set(column_names):
        if pa.types.is_integer(id_types.get(column_name, pa.string())):
            frame[column_name] = restored_ids(frame[column_name].to_list(), id_types[column_name])
    return frame


def log_card(log: "Log") -> str:
    """Counts and period of a log as HTML.

    Args:
        log: The log.
    """
    period_text = f"{log.start:%Y-%m-%d %H:%M} to {log.end:%Y-%m-%d %H:%M} UTC"
    mean_events = len(log) / max(1, log.n_users)
    event_rows = [
        ("events", f"{len(log):,}"),
        ("users", f"{log.n_users:,}"),
        ("items", f"{log.n_items:,}"),
        ("events a user, mean", f"{mean_events:,.1f}"),
        ("rows quarantined", f"{log.report.events.n_quarantined:,}"),
    ]
    item_rows = log.contents.items
    if item_rows is not None:
        event_rows.append(("items in the catalogue", f"{len(item_rows):,}"))
    return html.card(
        "Log", html.paragraph(period_text, soft=True), html.table(["", ""], event_rows)
    )
