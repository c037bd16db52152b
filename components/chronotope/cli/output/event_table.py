"""Table of a few events, for the terminal and for JSON."""

from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.table import Table

from chronotope.cli.output.terminal import TerminalConsole
from chronotope.contracts import columns as c
from chronotope.contracts.escaping import shown_text

if TYPE_CHECKING:
    import pyarrow as pa


N_SHOWN_EVENTS: Final = 10
"""Number of events that are shown."""


def first_rows(event_rows: "pa.Table") -> "pa.Table":
    """The first events, without their ids and without columns that have no value."""
    shown_columns = [
        column_name
        for column_name in event_rows.column_names
        if column_name != c.EVENT_ID and event_rows[column_name].null_count < len(event_rows)
    ]
    return event_rows.select(shown_columns).slice(0, N_SHOWN_EVENTS)


def plain_rows(event_rows: "pa.Table") -> list[dict[str, object]]:
    """Rows for JSON: instants as ISO 8601 text."""
    return [
        {
            column_name: cell_value.isoformat() if isinstance(cell_value, datetime) else cell_value
            for column_name, cell_value in event_row.items()
        }
        for event_row in event_rows.to_pylist()
    ]


def show_events(terminal: TerminalConsole, event_rows: "pa.Table") -> None:
    """Print events as a table; invisible characters of ids are shown."""
    title = f"First {event_rows.num_rows} events; times are UTC"
    event_table = Table(*event_rows.column_names, title=title)
    for event_row in event_rows.to_pylist():
        event_table.add_row(*map(_cell_text, event_row.values()))
    terminal.print(event_table)


def _cell_text(cell_value: object) -> str:
    if cell_value is None:
        return ""
    if isinstance(cell_value, datetime):
        return f"{cell_value:%Y-%m-%d %H:%M:%S}"
    return shown_text(cell_value) if isinstance(cell_value, str) else str(cell_value)
