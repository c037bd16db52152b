"""Moments that a user passes: texts, datetimes and timestamps of pandas or numpy."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from chronotope.contracts.errors import ConfigError
from chronotope.spacetime.time_zones import zone


def to_moment(value: object, time_zone: str) -> datetime:
    """A moment with a time zone, cut to whole seconds.

    Args:
        value: ISO 8601 text, ``datetime``, ``date``, or a timestamp of pandas or numpy.
        time_zone: Zone of a value without an offset.

    Raises:
        ConfigError: It is no moment.
    """
    moment = _to_datetime(value)
    if moment is None:
        raise ConfigError(
            "A moment is an ISO 8601 text, a datetime or a Timestamp",
            received=repr(value),
            way_out="Write it as '2024-05-01T18:00+02:00'",
        )
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone(time_zone))
    return moment.astimezone(UTC).replace(microsecond=0)


def _to_datetime(value: Any) -> datetime | None:
    """The value as a ``datetime``; None if it is no moment."""
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    if hasattr(value, "to_pydatetime"):  # a Timestamp of pandas
        value = value.to_pydatetime(warn=False)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - the caller's zone
    return value if isinstance(value, datetime) else None
