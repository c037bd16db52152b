"""What surrounds a request, such as the weather: looked up as training looked it up."""

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.ids import UNKNOWN, IdMap
from chronotope.features.context_join import ContextReadings
from chronotope.inference.history import UserHistory
from chronotope.lake import Lake


def read_readings(lake: Lake, columns: tuple[str, ...]) -> ContextReadings | None:
    """The lake's readings of what a champion listens to; None if there are none.

    Args:
        lake: The dataset's lake.
        columns: What the champion listens to.
    """
    if not columns or not lake.exists("surroundings"):
        return None
    table = lake.read("surroundings")
    known = [name for name in columns if name in table.column_names]
    return ContextReadings.of(table, known) if known and len(table) else None


def context_as_of(
    readings: ContextReadings | None, at: datetime, place_id: str | None
) -> dict[str, float]:
    """Readings that hold at a moment where the user was last; what is unknown is left out.

    Args:
        readings: What ``read_readings`` gave.
        at: The moment.
        place_id: Place of the user's last event.
    """
    if readings is None:
        return {}
    us = np.array([round(at.timestamp() * 1_000_000)])
    found = readings.as_of(us, [place_id])[0]
    told = zip(readings.columns, found.tolist(), strict=True)
    return {name: value for name, value in told if np.isfinite(value)}


def last_place(past: UserHistory, places: IdMap) -> str | None:
    """Where the user was last, as far as the model knows the place."""
    known = past.place_idx[past.place_idx != UNKNOWN]
    return places.name(int(known[-1])) if len(known) else None


def validate_context(told: Mapping[str, float], columns: tuple[str, ...]) -> None:
    """Refuse columns that the champion does not listen to.

    Raises:
        ConfigError: There are some.
    """
    if strange := sorted(set(told) - set(columns)):
        raise ConfigError(
            "The champion does not listen to these columns",
            received=strange,
            way_out=f"It listens to: {', '.join(columns) or 'none'}",
        )
