"""Parsing of raw columns into instants and numbers; unreadable values become null."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts.schemas import INSTANT
from chronotope.datasets.time_spec import EPOCH_UNITS_NS, RELATIVE_UNITS_NS, TimeKind, TimeSpec
from chronotope.datasets.values.epochs import EARLIEST_S, LATEST_S, count_micros
from chronotope.datasets.values.id_texts import integer_texts
from chronotope.datasets.values.numbers import as_numbers, is_textual
from chronotope.datasets.values.time_patterns import ISO_8601, TimePattern, compile_pattern
from chronotope.datasets.values.time_texts import parse_times
from chronotope.spacetime.clock import utc_from_local

__all__ = ["as_instants", "as_numbers", "is_textual"]

_TICKS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000}
_US: Final = 1_000_000
_HEAD_ROWS: Final = 64
_ISO_LIKE: Final = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")  # 19 characters when padded


def as_instants(column: pa.Array, time_spec: TimeSpec) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """UTC instants of a time column.

    A value with a zone, in the text or in the pattern, is never shifted by ``timezone``.

    Args:
        column: Timestamps, dates, text or numbers, as read from the source.
        time_spec: Encoding and time zone of the column.

    Returns:
        Instants (null where a value could not be read), and the mask of wall-clock times that
        do not exist in their zone because the clocks were put forward, shape (n,).
    """
    no_rows = np.zeros(len(column), dtype=np.bool_)
    if time_spec.kind in EPOCH_UNITS_NS:
        micros, is_read = count_micros(column, EPOCH_UNITS_NS[time_spec.kind])
        return _instants(micros, is_read), no_rows
    if time_spec.origin is not None:
        return _from_origin(column, time_spec, time_spec.origin)
    if time_spec.kind is TimeKind.STRPTIME and not pa.types.is_temporal(column.type):
        column = column if is_textual(column.type) else integer_texts(column)
    if is_textual(column.type):
        return _from_text(column, time_spec)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    if not pa.types.is_timestamp(column.type):
        return pa.nulls(len(column), INSTANT), no_rows
    micro_times = _to_micros(column)
    if column.type.tz is not None:
        return micro_times.cast(INSTANT), no_rows
    return _localised(micro_times, ~no_rows, time_spec.timezone)


def _to_micros(column: pa.Array) -> pa.Array:
    """Timestamps in microseconds; null outside the years 1 to 9999, which could overflow."""
    column_type = column.type
    if column_type.unit in _TICKS:
        tick_counts, ticks_per_s = column.cast(pa.int64()), _TICKS[column_type.unit]
        is_late = pc.greater(tick_counts, LATEST_S * ticks_per_s)
        is_outside = pc.or_(is_late, pc.less(tick_counts, EARLIEST_S * ticks_per_s))
        column = pc.if_else(is_outside, pa.scalar(None, column_type), column)
    return column.cast(pa.timestamp("us", tz=column_type.tz), safe=False)


def _from_origin(
    column: pa.Array, time_spec: TimeSpec, origin: datetime
) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Instants of counts since an origin.

    Days are counted on the wall clock, so that a day number is a midnight in summer and in winter;
    shorter units are counted as they elapse.
    """
    is_local = origin.tzinfo is None
    origin_s = int((origin.replace(tzinfo=UTC) if is_local else origin).timestamp())
    if is_local and time_spec.kind is not TimeKind.DAYS:
        origin_s = int(utc_from_local(np.array([origin_s]), time_spec.timezone)[0][0])
        is_local = False
    micros, is_read = count_micros(column, RELATIVE_UNITS_NS[time_spec.kind], origin_s)
    clock_times = _instants(micros + origin_s * _US, is_read)
    return _localised(clock_times, np.full(len(column), is_local), time_spec.timezone)


def _from_text(column: pa.Array, time_spec: TimeSpec) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    texts = column.cast(pa.string())
    if not time_spec.patterns or (
        time_spec.pattern in _ISO_LIKE and pc.all(pc.equal(pc.binary_length(texts), 19)).as_py()
    ):
        for is_local, arrow_type in ((False, INSTANT), (True, pa.timestamp("us"))):
            try:
                texts.slice(0, _HEAD_ROWS).cast(arrow_type)  # a failure of each row takes long
                times = texts.cast(arrow_type)
            except pa.ArrowInvalid:  # one text in another form: each is matched with the patterns
                continue
            return _localised(times, np.full(len(texts), is_local), time_spec.timezone)
    parsed_times = parse_times(texts, _compiled(time_spec.patterns or (ISO_8601,)))
    instants = _instants(parsed_times.micros, parsed_times.is_read)
    return _localised(instants, ~parsed_times.has_zone, time_spec.timezone)


@lru_cache(maxsize=256)
def _compiled(patterns: tuple[str, ...]) -> tuple[TimePattern, ...]:
    return tuple(compiled for pattern in patterns for compiled in compile_pattern(pattern))


def _instants(micros: npt.NDArray[np.int64], is_read: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.array(micros, mask=~is_read).cast(INSTANT)


def _localised(
    clock_times: pa.Array, is_local: npt.NDArray[np.bool_], zone_name: str
) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Convert the rows in ``is_local`` from wall-clock times of a zone to UTC instants.

    Returns:
        Instants, null outside the years 1 to 9999, and the mask of times that do not exist in the
        zone, as ``as_instants``.
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
    is_known &= (micros >= EARLIEST_S * _US) & (micros < (LATEST_S + 1) * _US)
    return _instants(micros, is_known), is_skipped
