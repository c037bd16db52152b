"""Turn columns as read into instants and numbers; what does not parse becomes null."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts.schemas import INSTANT
from chronotope.datasets.spec import TimeKind, TimeSpec
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


def is_textual(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def as_numbers(column: pa.Array) -> pa.DoubleArray:
    """Numbers of a numeric, boolean or text column; null where there is none.

    NaN and infinity stay what they are, so that the caller can name them.
    """
    kind = column.type
    if pa.types.is_boolean(kind):
        return column.cast(pa.int8()).cast(pa.float64())
    if is_textual(kind):
        numeric = pc.match_substring_regex(column, _NUMBER)
        text = pc.utf8_trim_whitespace(pc.if_else(numeric, column, pa.scalar(None, kind)))
        return pc.cast(text, pa.float64())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pc.cast(column, pa.float64(), safe=False)
    return pa.nulls(len(column), pa.float64())


def as_instants(column: pa.Array, spec: TimeSpec) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """UTC instants of a time column.

    Args:
        column: As read: timestamps, dates, text or numbers.
        spec: How it reads.

    Returns:
        Instants (null where none could be read), and whether a wall-clock time was
        read that its zone skipped, shape (n,).
    """
    if spec.kind in (TimeKind.EPOCH_S, TimeKind.EPOCH_MS):
        return _from_epoch(column, 1.0 if spec.kind is TimeKind.EPOCH_S else 1e-3)
    if is_textual(column.type):
        return _from_text(column, spec)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    if not pa.types.is_timestamp(column.type):
        return pa.nulls(len(column), INSTANT), np.zeros(len(column), dtype=np.bool_)
    micros = _to_micros(column)
    if column.type.tz is not None:
        return micros.cast(INSTANT), np.zeros(len(column), dtype=np.bool_)
    return _localised(micros, np.ones(len(column), dtype=np.bool_), spec.timezone)


def _to_micros(column: pa.Array) -> pa.Array:
    """Timestamps in microseconds; null outside the years 1 to 9999, where they would wrap."""
    kind = column.type
    if kind.unit in _TICKS:
        ticks, scale = column.cast(pa.int64()), _TICKS[kind.unit]
        late = pc.greater(ticks, _LATEST_S * scale)
        outside = pc.or_(late, pc.less(ticks, _EARLIEST_S * scale))
        column = pc.if_else(outside, pa.scalar(None, kind), column)
    return column.cast(pa.timestamp("us", tz=kind.tz), safe=False)


def _from_epoch(column: pa.Array, unit_s: float) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    seconds = as_numbers(column).to_numpy(zero_copy_only=False) * unit_s
    readable = (seconds >= _EARLIEST_S) & (seconds <= _LATEST_S)  # False for NaN
    micros = np.round(np.where(readable, seconds, 0.0) * _US).astype(np.int64)
    return (
        pa.array(micros, mask=~readable).cast(INSTANT),
        np.zeros(len(column), dtype=np.bool_),
    )


def _from_text(column: pa.Array, spec: TimeSpec) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    pattern = spec.pattern or "ISO8601"
    text = pd.Index(column.to_numpy(zero_copy_only=False), dtype="str")
    parsed = pd.DatetimeIndex(pd.to_datetime(text, format=pattern, utc=True, errors="coerce"))
    micros = parsed.as_unit("us").asi8
    instants = pa.array(micros, mask=np.asarray(parsed.isna())).cast(INSTANT)
    if spec.pattern is not None:
        bare = np.full(len(column), "%z" not in spec.pattern)
    else:
        zoned = pc.and_(
            pc.match_substring_regex(column, _HAS_OFFSET),
            pc.match_substring_regex(column, _HAS_CLOCK),
        )
        bare = ~np.asarray(pc.fill_null(zoned, False).to_numpy(zero_copy_only=False), np.bool_)
    return _localised(instants, bare, spec.timezone)


def _localised(
    clock: pa.Array, bare: npt.NDArray[np.bool_], zone_name: str
) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Move the rows in ``bare``, which hold wall-clock times, from a zone to UTC."""
    known = np.asarray(clock.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    micros = clock.cast(pa.int64()).fill_null(0).to_numpy().copy()
    skipped = np.zeros(len(clock), dtype=np.bool_)
    rows = np.flatnonzero(bare & known)
    if zone_name != "UTC" and len(rows):
        local_s, rest = np.divmod(micros[rows], _US)
        utc_s, exists = utc_from_local(local_s, zone_name)
        micros[rows] = utc_s * _US + rest
        skipped[rows] = ~exists
    return pa.array(micros, mask=~known).cast(INSTANT), skipped
