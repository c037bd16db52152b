"""Local time: from UTC seconds to the hour on the user's wall clock, and back."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import ConfigError

HOURS_PER_WEEK: Final = 168
_DAY_S: Final = 86_400
_STEP_S: Final = 900  # clocks change on whole quarters of an hour
_THURSDAY: Final = 3  # weekday of 1970-01-01, Monday is 0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def zone(name: str) -> ZoneInfo:
    """The IANA time zone of that name.

    Raises:
        ConfigError: No such zone.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(
            "Unknown time zone", received=name, way_out="Use an IANA name such as Europe/Vienna"
        ) from error


def local_hour(
    utc_s: npt.NDArray[np.int64], offset_min: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    """Hour of the local day in [0, 24), fractions included.

    Args:
        utc_s: UTC seconds since 1970, shape (n,).
        offset_min: Minutes to add to UTC, shape (n,).

    Example:
        >>> local_hour(np.array([1800]), np.array([-60], dtype=np.int32)).tolist()
        [23.5]
    """
    hours: npt.NDArray[np.float64] = _local_s(utc_s, offset_min) % _DAY_S / 3600.0
    return hours


def hour_of_week(
    utc_s: npt.NDArray[np.int64], offset_min: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """Whole hour of the local week, 0 (Monday midnight) to 167; arguments as above."""
    hours = _local_s(utc_s, offset_min) // 3600 + _THURSDAY * 24
    return (hours % HOURS_PER_WEEK).astype(np.int32)


def utc_offsets(utc_s: npt.NDArray[np.int64], zone_name: str) -> npt.NDArray[np.int32]:
    """Minutes to add to UTC for the wall clock of a zone, shape (n,).

    Each distinct quarter of an hour is looked up once. Instants outside the years
    2 to 9998 take the offset of the nearest year inside.
    """
    where = zone(zone_name)
    quarters, position = np.unique(np.asarray(utc_s, np.int64) // _STEP_S, return_inverse=True)
    inside = np.clip(quarters * _STEP_S, -62_104_060_800, 253_339_228_800)
    moments = [(_EPOCH + timedelta(seconds=s)).astimezone(where) for s in inside.tolist()]
    minutes = [round((m.utcoffset() or timedelta()).total_seconds() / 60) for m in moments]
    return np.array(minutes, dtype=np.int32)[position.reshape(-1)]


def utc_from_local(
    local_s: npt.NDArray[np.int64], zone_name: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """UTC of wall-clock times in a zone.

    A time that occurs twice (clocks set back) is taken as the first of the two.

    Args:
        local_s: Wall-clock seconds, counted as if the clock were UTC, shape (n,).
        zone_name: IANA name.

    Returns:
        UTC seconds, and whether the wall clock ever showed that time (False in the
        hour skipped when clocks are set forward); both of shape (n,).
    """
    before = local_s - utc_offsets(local_s - _DAY_S, zone_name).astype(np.int64) * 60
    after = local_s - utc_offsets(local_s + _DAY_S, zone_name).astype(np.int64) * 60
    before_holds = _shows(before, local_s, zone_name)
    after_holds = _shows(after, local_s, zone_name)
    first = np.where(before_holds & after_holds, np.minimum(before, after), before)
    return np.where(before_holds, first, after), before_holds | after_holds


def _shows(
    utc_s: npt.NDArray[np.int64], local_s: npt.NDArray[np.int64], zone_name: str
) -> npt.NDArray[np.bool_]:
    shown = utc_s + utc_offsets(utc_s, zone_name).astype(np.int64) * 60
    return np.asarray(shown == local_s, dtype=np.bool_)


def _local_s(
    utc_s: npt.NDArray[np.int64], offset_min: npt.NDArray[np.int32]
) -> npt.NDArray[np.int64]:
    return np.asarray(utc_s, np.int64) + np.asarray(offset_min, np.int64) * 60
