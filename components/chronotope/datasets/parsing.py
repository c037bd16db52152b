"""Parsing of raw columns into instants and numbers; unreadable values become null."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts.schemas import INSTANT
from chronotope.datasets.time_spec import TimeKind, TimeSpec
from chronotope.spacetime.clock import utc_from_local

_NUMBER: Final = (
    r"(?i)^\s*[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf|infinity)\s*$"
)
_HAS_OFFSET: Final = r"(?:[Zz]|[+-]\d{2}:?(?:\d{2})?)\s*$"
_HAS_CLOCK: Final = r"\d{1,2}:\d{2}"
_EARLIEST_S: Final = -62_135_596_800  # year 1
_LATEST_S: Final = 253_402_300_799  # the last second of year 9999
_TICKS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000}
_US: Final = 1_000_000


def is_textual(column_type: pa.DataType) -> bool:
    """Whether an Arrow type holds text."""
    return bool(pa.types.is_string(column_type) or pa.types.is_large_string(column_type))


def as_numbers(column: pa.Array) -> pa.DoubleArray:
    """Numbers of a numeric, boolean or text column; null where a value is not a number.

    NaN and infinity are kept, so that the caller can report them.
    """
    column_type = column.type
    if pa.types.is_boolean(column_type):
        return column.cast(pa.int8()).cast(pa.float64())
    if is_textual(column_type):
        is_number = pc.match_substring_regex(column, _NUMBER)
        number_texts = pc.utf8_trim_whitespace(
            pc.if_else(is_number, column, pa.scalar(None, column_type))
        )
        return pc.cast(number_texts, pa.float64())
    if (
        pa.types.is_integer(column_type)
        or pa.types.is_floating(column_type)
        or pa.types.is_decimal(column_type)
    ):
        return pc.cast(column, pa.float64(), safe=False)
    return pa.nulls(len(column), pa.float64())


def as_instants(column: pa.Array, time_spec: TimeSpec) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """UTC instants of a time column.

    Args:
        column: Timestamps, dates, text or numbers, as read from the source.
        time_spec: Encoding and time zone of the column.

    Returns:
        Instants (null where a value could not be read), and the mask of wall-clock times that
        do not exist in their zone because the clocks were put forward, shape (n,).
    """
    if time_spec.kind in (TimeKind.EPOCH_S, TimeKind.EPOCH_MS):
        return _from_epoch(column, 1.0 if time_spec.kind is TimeKind.EPOCH_S else 1e-3)
    if is_textual(column.type):
        return _from_text(column, time_spec)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    if not pa.types.is_timestamp(column.type):
        return pa.nulls(len(column), INSTANT), np.zeros(len(column), dtype=np.bool_)
    micros = _to_micros(column)
    if column.type.tz is not None:
        return micros.cast(INSTANT), np.zeros(len(column), dtype=np.bool_)
    return _localised(micros, np.ones(len(column), dtype=np.bool_), time_spec.timezone)


def _to_micros(column: pa.Array) -> pa.Array:
    """Timestamps in microseconds; null outside the years 1 to 9999, which could overflow."""
    column_type = column.type
    if column_type.unit in _TICKS:
        tick_counts, ticks_per_s = column.cast(pa.int64()), _TICKS[column_type.unit]
        is_late = pc.greater(tick_counts, _LATEST_S * ticks_per_s)
        is_outside = pc.or_(is_late, pc.less(tick_counts, _EARLIEST_S * ticks_per_s))
        column = pc.if_else(is_outside, pa.scalar(None, column_type), column)
    return column.cast(pa.timestamp("us", tz=column_type.tz), safe=False)


def _from_epoch(column: pa.Array, unit_s: float) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    epoch_s = as_numbers(column).to_numpy(zero_copy_only=False) * unit_s
    is_readable = (epoch_s >= _EARLIEST_S) & (epoch_s <= _LATEST_S)  # False for NaN
    micros = np.round(np.where(is_readable, epoch_s, 0.0) * _US).astype(np.int64)
    return (
        pa.array(micros, mask=~is_readable).cast(INSTANT),
        np.zeros(len(column), dtype=np.bool_),
    )


def _from_text(column: pa.Array, time_spec: TimeSpec) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    time_pattern = time_spec.pattern or "ISO8601"
    text_index = pd.Index(column.to_numpy(zero_copy_only=False), dtype="str")
    parsed_times = pd.DatetimeIndex(
        pd.to_datetime(text_index, format=time_pattern, utc=True, errors="coerce")
    )
    micros = parsed_times.as_unit("us").asi8
    instants = pa.array(micros, mask=np.asarray(parsed_times.isna())).cast(INSTANT)
    if time_spec.pattern is not None:
        is_local = np.full(len(column), "%z" not in time_spec.pattern)
    else:
        has_zone = pc.and_(
            pc.match_substring_regex(column, _HAS_OFFSET),
            pc.match_substring_regex(column, _HAS_CLOCK),
        )
        is_local = ~np.asarray(
            pc.fill_null(has_zone, False).to_numpy(zero_copy_only=False), np.bool_
        )
    return _localised(instants, is_local, time_spec.timezone)


def _localised(
    clock_times: pa.Array, is_local: npt.NDArray[np.bool_], zone_name: str
) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Convert the rows in ``is_local`` from wall-clock times of a zone to UTC instants.

    Returns:
        Instants, and the mask of times that do not exist in the zone, as ``as_instants``.
    """
    is_known = np.asarray(clock_times.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    micros = clock_times.cast(pa.int64()).fill_null(0).to_numpy().copy()
    is_skipped = np.zeros(len(clock_times), dtype=np.bool_)
    local_rows = np.flatnonzero(is_local & is_known)
    if zone_name != "UTC" and len(local_rows):
        local_s, sub_second_us = np.divmod(micros[local_rows], _US)
        utc_s, exists = utc_from_local(local_s, zone_name)
        micros[local_rows] = utc_s * _US + sub_second_us
        is_skipped[local_rows] = ~exists
    return pa.array(micros, mask=~is_known).cast(INSTANT), is_skipped
