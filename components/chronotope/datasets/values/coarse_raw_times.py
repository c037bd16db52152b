"""Coarser times of rows as read from a source, in the form in which the source states times.

Refused rows are stored as they were read, so that they can be read again. Their times are rounded
down as those of valid rows are. A time that cannot be read cannot be rounded: of a text its shape
remains, of another value nothing.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.datasets.parsing import as_instants, is_textual
from chronotope.datasets.time_spec import EPOCH_UNITS_NS, RELATIVE_UNITS_NS, TimeKind, TimeSpec
from chronotope.datasets.values.time_patterns import ISO_8601, compile_pattern, split_pattern
from chronotope.privacy import coarse_times
from chronotope.spacetime.clock import utc_from_local, utc_offsets
from chronotope.spacetime.time_zones import fixed_offset

MAX_SHAPE_CHARS: Final = 64
"""Characters of the shape of a text that is not a time; the rest is cut."""

_US: Final = 1_000_000
_MINUTE_US: Final = 60 * _US
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ISO_TEXT: Final = "%Y-%m-%dT%H:%M:%SZ"
_ZONED: Final = frozenset({"%z", "%Z"})
_Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class UserClocks:
    """Clocks of the users of some rows, by which their times are rounded down.

    Attributes:
        local_zone: Zone of all users; None for UTC.
        offset_min: Minutes ahead of UTC that the rows state, NaN where they do not, shape (n,);
            None if they state none.
    """

    local_zone: str | None = None
    offset_min: npt.NDArray[np.float64] | None = None

    def at(self, utc_us: _Int64) -> _Int64:
        """Minutes of each row's clock ahead of UTC at an instant, shape (n,).

        Args:
            utc_us: UTC microseconds, shape (n,).
        """
        minutes = np.zeros(len(utc_us), np.int64)
        if self.local_zone is not None:
            minutes += utc_offsets(utc_us // _US, self.local_zone)
        if self.offset_min is None:
            return minutes
        return np.where(np.isnan(self.offset_min), minutes, np.nan_to_num(self.offset_min)).astype(
            np.int64
        )


def coarse_raw_times(
    column: pa.Array, time_spec: TimeSpec, clocks: UserClocks, resolution_min: int
) -> pa.Array:
    """Times as read, rounded down on the clocks of their users.

    A time is stored only if it is read back in the interval of the original; one that cannot be
    read, or not be written in the form of the source, is replaced by ``hidden_values``.

    Args:
        column: Times as read from the source, shape (n,).
        time_spec: Encoding of the column.
        clocks: Clocks of the users.
        resolution_min: Minutes to which times are rounded, a divisor of a day.

    Returns:
        Values of the type of the column, shape (n,).
    """
    if column.null_count == len(column) or pa.types.is_date(column.type):
        return column
    utc_us, is_read = _micros(column, time_spec)
    coarse_us = coarse_times(utc_us, clocks.at(utc_us), resolution_min)
    distinct_us, distinct_idx = np.unique(coarse_us, return_inverse=True)
    if _is_coarse_count(column, time_spec, resolution_min):
        written = column
    else:
        written = _written(distinct_us, column.type, time_spec).take(pa.array(distinct_idx))
    is_same = _read_back(written, time_spec, clocks, resolution_min, coarse_us)
    stored = pc.if_else(pa.array(is_read & is_same), written, hidden_values(column))
    return pc.if_else(pa.array(is_read & (coarse_us == utc_us)), column, stored)


def hidden_values(column: pa.Array) -> pa.Array:
    """Shapes of texts, NaN where a number is NaN, and nulls for all other values, shape (n,)."""
    if is_textual(column.type):
        return text_shape(column)
    nothing = pa.nulls(len(column), column.type)
    is_floating = pa.types.is_floating(column.type)
    return pc.if_else(pc.is_nan(column), column, nothing) if is_floating else nothing


def text_shape(texts: pa.Array) -> pa.Array:
    """Shapes of texts: digits become #, letters x, so that their format can be recognised.

    Args:
        texts: Texts, shape (n,).

    Example:
        >>> text_shape(pa.array(["31.12.2024, 9 pm"])).to_pylist()
        ['##.##.####, # xx']
    """
    shapes = pc.utf8_slice_codeunits(texts.cast(pa.string()), 0, MAX_SHAPE_CHARS)
    for pattern, replacement in ((r"\p{N}", "#"), (r"\p{L}", "x"), (r"[^#x\s.,:;/+()-]", "?")):
        shapes = pc.replace_substring_regex(shapes, pattern=pattern, replacement=replacement)
    return shapes.cast(texts.type)


def _is_coarse_count(column: pa.Array, time_spec: TimeSpec, resolution_min: int) -> bool:
    """Whether the column has whole numbers of a unit that is no shorter than the resolution."""
    unit_ns = RELATIVE_UNITS_NS.get(time_spec.kind, 0)
    return pa.types.is_integer(column.type) and unit_ns >= resolution_min * _MINUTE_US * 1_000


def _read_back(
    written: pa.Array,
    time_spec: TimeSpec,
    clocks: UserClocks,
    resolution_min: int,
    coarse_us: _Int64,
) -> npt.NDArray[np.bool_]:
    """Whether a later reading rounds what was written to the same time, shape (n,)."""
    utc_us, is_read = _micros(written, time_spec)
    is_same = coarse_times(utc_us, clocks.at(utc_us), resolution_min) == coarse_us
    return np.asarray(is_read & is_same, np.bool_)


def _micros(column: pa.Array, time_spec: TimeSpec) -> tuple[_Int64, npt.NDArray[np.bool_]]:
    """UTC microseconds, and whether a time was read and existed on its clock, shape (n,) each."""
    instants, is_skipped = as_instants(column, time_spec)
    is_read = np.asarray(instants.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    utc_us = np.asarray(instants.cast(pa.int64()).fill_null(0).to_numpy(), np.int64)
    return utc_us, is_read & ~is_skipped


def _written(utc_us: _Int64, arrow_type: pa.DataType, time_spec: TimeSpec) -> pa.Array:
    """Distinct instants in the form of the source; null where it has none, shape (n,)."""
    unit_ns = EPOCH_UNITS_NS.get(time_spec.kind) or RELATIVE_UNITS_NS.get(time_spec.kind)
    values: list[Any]
    if unit_ns is not None:
        counts_us = _since_origin(utc_us, time_spec).tolist()
        values = [_count_of(micros, unit_ns, arrow_type) for micros in counts_us]
    elif pa.types.is_timestamp(arrow_type):
        shift_us = 0 if arrow_type.tz is not None else _offset_us(utc_us, time_spec.timezone)
        return pa.array(utc_us + shift_us, pa.timestamp("us", tz=arrow_type.tz)).cast(arrow_type)
    else:
        pattern = time_spec.patterns[0] if time_spec.patterns else ISO_8601
        values = _texts(utc_us, pattern, time_spec.timezone)
    try:
        return pa.array(values).cast(arrow_type)
    except pa.ArrowInvalid:
        return pa.nulls(len(values), arrow_type)


def _since_origin(utc_us: _Int64, time_spec: TimeSpec) -> _Int64:
    """Microseconds since the origin of counts, on its clock."""
    origin = time_spec.origin
    if origin is None:
        return utc_us
    origin_s = (origin.replace(tzinfo=origin.tzinfo or UTC) - _EPOCH) // timedelta(seconds=1)
    if origin.tzinfo is None and time_spec.kind is TimeKind.DAYS:
        utc_us = utc_us + _offset_us(utc_us, time_spec.timezone)  # days are counted on the clock
    elif origin.tzinfo is None:
        origin_s = int(utc_from_local(np.array([origin_s]), time_spec.timezone)[0][0])
    return utc_us - origin_s * _US


def _count_of(micros: int, unit_ns: int, arrow_type: pa.DataType) -> object:
    """Number of a unit that is not before an instant, as the column has numbers.

    The next representable number is still in the interval, the one before it is not.
    """
    count, rest = divmod(micros * 1_000, unit_ns)
    if rest == 0 or pa.types.is_integer(arrow_type):
        whole = count + (rest > 0)
        return str(whole) if is_textual(arrow_type) else whole
    billionths = -(-rest * 10**9 // unit_ns)
    if is_textual(arrow_type) and count >= 0 and billionths < 10**9:
        return f"{count}.{billionths:09d}"
    number = count + billionths / 1e9
    return repr(number) if is_textual(arrow_type) else number


def _texts(utc_us: _Int64, pattern: str, zone_name: str) -> list[str | None]:
    """Instants as texts of a pattern."""
    compiled = compile_pattern(pattern)
    parts = ["=%"] if len(compiled) > 1 else split_pattern(pattern)
    is_iso = len(compiled) > 1
    literal_zone = compiled[0].literal_zone
    if is_iso or literal_zone is not None or _ZONED & set(parts):
        offset = fixed_offset((literal_zone or "Z").strip()) or timedelta()
        clock_us = utc_us + offset // timedelta(microseconds=1)
    else:
        clock_us = utc_us + _offset_us(utc_us, zone_name)
    form = "".join(part if part[0] == "%" else part[1:].replace("%", "%%") for part in parts)
    return [_text(micros, _ISO_TEXT if is_iso else form) for micros in clock_us.tolist()]


def _text(clock_us: int, form: str) -> str | None:
    try:
        return (_EPOCH + timedelta(microseconds=clock_us)).strftime(form)
    except (OverflowError, ValueError):  # outside the years 1 to 9999
        return None


def _offset_us(utc_us: _Int64, zone_name: str) -> _Int64:
    return utc_offsets(utc_us // _US, zone_name).astype(np.int64) * _MINUTE_US
