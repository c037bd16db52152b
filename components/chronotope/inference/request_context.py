"""Context of a request, such as the weather: the same as-of join as in training."""

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.ids import UNKNOWN, IdMap
from chronotope.features.context_join import ContextReadings
from chronotope.inference.history import UserHistory
from chronotope.lake import Lake


def read_readings(lake: Lake, columns: tuple[str, ...]) -> ContextReadings | None:
    """The lake's readings of a champion's context columns; None if there are none.

    Args:
        lake: The dataset's lake.
        columns: Context columns of the champion.
    """
    if not columns or not lake.exists("context"):
        return None
    reading_table = lake.read("context")
    known_columns = [
        context_column for context_column in columns if context_column in reading_table.column_names
    ]
    return (
        ContextReadings.from_table(reading_table, known_columns)
        if known_columns and len(reading_table)
        else None
    )


def context_as_of(
    readings: ContextReadings | None, request_time: datetime, place_id: str | None
) -> dict[str, float]:
    """Latest readings before the request at the user's last place; unknown ones are left out.

    Args:
        readings: Result of ``read_readings``.
        request_time: Time of the request.
        place_id: Place of the user's last event.
    """
    if readings is None:
        return {}
    request_us = np.array([round(request_time.timestamp() * 1_000_000)])
    context_row = readings.as_of(request_us, [place_id])[0]  # (n_columns,)
    column_values = zip(readings.columns, context_row.tolist(), strict=True)
    return {
        context_column: column_value
        for context_column, column_value in column_values
        if np.isfinite(column_value)
    }


def last_place(history: UserHistory, places: IdMap) -> str | None:
    """Place of the user's latest event whose place is known to the model."""
    known_places = history.place_idx[history.place_idx != UNKNOWN]
    return places.name(int(known_places[-1])) if len(known_places) else None


def validate_context(context: Mapping[str, float], columns: tuple[str, ...]) -> None:
    """Validate that the context columns are inputs of the champion.

    Raises:
        ConfigError: Some columns are not context columns of the champion.
    """
    if unknown_columns := sorted(set(context) - set(columns)):
        raise ConfigError(
            "The champion has no context columns of these names",
            received=unknown_columns,
            way_out=f"Its context columns are: {', '.join(columns) or 'none'}",
        )
