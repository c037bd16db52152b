"""Moments that a user passes: texts, datetimes and timestamps of pandas or numpy."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from chronotope.contracts.errors import ConfigError
from chronotope.spacetime.time_zones import zone


def to_moment(given_value: object, time_zone: str) -> datetime:
    """A moment with a time zone, cut to whole seconds.

    Args:
        given_value: ISO 8601 text, ``datetime``, ``date``, or a timestamp of pandas or numpy.
        time_zone: Zone of a value without an offset.

    Raises:
        ConfigError: It is no moment.
    """
    given_time = _to_datetime(given_value)
    if given_time is None:
        raise ConfigError(
            "A moment is an ISO 8601 text, a datetime or a Timestamp",
            received=repr(given_value),
            way_out="Write it as '2024-05-01T18:00+02:00'",
        )
    if given_time.tzinfo is None:
        given_time = given_time.replace(tzinfo=zone(time_zone))
    return given_time.astimezone(UTC).replace(microsecond=0)


def _to_datetime(given_value: Any) -> datetime | None:
    """The value as a ``datetime``; None if it is no moment."""
    if isinstance(given_value, np.datetime64):
        given_value = given_value.astype("datetime64[us]").item()
    if hasattr(given_value, "to_pydatetime"):  # a Timestamp of pandas
        given_value = given_value.to_pydatetime(warn=False)
    if isinstance(given_value, str):
        try:
            given_value = datetime.fromisoformat(given_value)
        except ValueError:
            return None
    if isinstance(given_value, date) and not isinstance(given_value, datetime):
        given_value = datetime(given_value.year, given_value.month, given_value.day)  # noqa: DTZ001 - the caller's zone
    return given_value if isinstance(given_value, datetime) else None
