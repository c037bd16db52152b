"""Local time: from UTC seconds to the hour on the user's wall clock, and back."""

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.spacetime.time_zones import zone

HOURS_PER_WEEK: Final = 168
_DAY_S: Final = 86_400
_STEP_S: Final = 900  # clocks change on whole quarters of an hour
_THURSDAY: Final = 3  # weekday of 1970-01-01, Monday is 0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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
    local_hours: npt.NDArray[np.float64] = _local_s(utc_s, offset_min) % _DAY_S / 3600.0
    return local_hours


def hour_of_week(
    utc_s: npt.NDArray[np.int64], offset_min: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """Whole hour of the local week, 0 (Monday midnight) to 167; arguments as above."""
    local_hours = _local_s(utc_s, offset_min) // 3600 + _THURSDAY * 24
    return (local_hours % HOURS_PER_WEEK).astype(np.int32)


def utc_offsets(utc_s: npt.NDArray[np.int64], zone_name: str) -> npt.NDArray[np.int32]:
    """Minutes to add to UTC for the wall clock of a zone, shape (n,).

    Each distinct quarter of an hour is looked up once. Instants outside the years
    2 to 9998 take the offset of the nearest year inside.
    """
    time_zone = zone(zone_name)
    quarter_hours, quarter_idx = np.unique(
        np.asarray(utc_s, np.int64) // _STEP_S, return_inverse=True
    )
    clipped_s = np.clip(quarter_hours * _STEP_S, -62_104_060_800, 253_339_228_800)
    local_times = [
        (_EPOCH + timedelta(seconds=utc_second)).astimezone(time_zone)
        for utc_second in clipped_s.tolist()
    ]
    offset_minutes = [
        round((local_time.utcoffset() or timedelta()).total_seconds() / 60)
        for local_time in local_times
    ]
    return np.array(offset_minutes, dtype=np.int32)[quarter_idx.reshape(-1)]


def utc_from_local(
    local_s: npt.NDArray[np.int64], zone_name: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """UTC of wall-clock times in a zone.

    A time that occurs twice (clocks set back) is taken as the first of the two.

    Args:
        local_s: Wall-clock seconds, counted as if the clock were UTC, shape (n,).
        zone_name: Name of the zone, as ``zone`` takes it.

    Returns:
        UTC seconds, and whether the wall clock ever showed that time (False in the
        hour skipped when clocks are set forward); both of shape (n,).
    """
    utc_before_s = local_s - utc_offsets(local_s - _DAY_S, zone_name).astype(np.int64) * 60
    utc_after_s = local_s - utc_offsets(local_s + _DAY_S, zone_name).astype(np.int64) * 60
    before_holds = _shows(utc_before_s, local_s, zone_name)
    after_holds = _shows(utc_after_s, local_s, zone_name)
    earlier_s = np.where(
        before_holds & after_holds, np.minimum(utc_before_s, utc_after_s), utc_before_s
    )
    return np.where(before_holds, earlier_s, utc_after_s), before_holds | after_holds


def _shows(
    utc_s: npt.NDArray[np.int64], local_s: npt.NDArray[np.int64], zone_name: str
) -> npt.NDArray[np.bool_]:
    shown_local_s = utc_s + utc_offsets(utc_s, zone_name).astype(np.int64) * 60
    return np.asarray(shown_local_s == local_s, dtype=np.bool_)


def _local_s(
    utc_s: npt.NDArray[np.int64], offset_min: npt.NDArray[np.int32]
) -> npt.NDArray[np.int64]:
    return np.asarray(utc_s, np.int64) + np.asarray(offset_min, np.int64) * 60
