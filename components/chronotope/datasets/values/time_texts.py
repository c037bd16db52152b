"""Conversion of texts to instants by compiled time patterns, without a loop over the rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.datasets.values.time_patterns import MONTHS, TimePattern
from chronotope.spacetime.time_zones import fixed_offset

_US = 1_000_000
_DAY_US = 86_400 * _US
_MONTH_NAMES = pa.array([month[:3] for month in MONTHS])
_CENTURY_PIVOT = 69  # POSIX: two-digit years from 69 on are in the twentieth century
Int64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ParsedTimes:
    """Times read from texts.

    Attributes:
        micros: Microseconds since 1970, in UTC for times with a zone and else on the wall clock;
            0 where a text could not be read, shape (n,).
        is_read: Whether a text could be read, shape (n,).
        has_zone: Whether a text or its pattern carries a zone, shape (n,).
    """

    micros: Int64
    is_read: Mask
    has_zone: Mask


def parse_times(texts: pa.Array, patterns: Sequence[TimePattern]) -> ParsedTimes:
    """Read texts by the first pattern that matches each of them.

    The hour 24 is the next midnight, and fractions beyond a microsecond are cut off. A date that
    does not exist, such as 30 February, is not read.

    Args:
        texts: Texts, null where a value is missing, shape (n,).
        patterns: Patterns in the order in which they are tried.
    """
    n_rows = len(texts)
    micros, is_read = np.zeros(n_rows, np.int64), np.zeros(n_rows, np.bool_)
    has_zone = np.zeros(n_rows, np.bool_)
    open_rows = np.arange(n_rows)
    for pattern in patterns:
        if not len(open_rows):
            break
        open_texts = texts if len(open_rows) == n_rows else texts.take(pa.array(open_rows))
        fields = pc.extract_regex(open_texts, pattern=pattern.regex)
        is_match = _as_mask(fields.is_valid())
        if not is_match.any():
            continue
        matched_rows = open_rows if is_match.all() else open_rows[is_match]
        matched_fields = fields if is_match.all() else fields.filter(pa.array(is_match))
        pattern_micros, exists, is_zoned = _from_fields(_Fields(matched_fields), pattern)
        micros[matched_rows] = np.where(exists, pattern_micros, 0)
        is_read[matched_rows], has_zone[matched_rows] = exists, is_zoned
        open_rows = open_rows[~is_match] if exists.all() else np.flatnonzero(~is_read)
    return ParsedTimes(micros, is_read, has_zone)


class _Fields:
    """Fields of matched texts by directive."""

    def __init__(self, fields: pa.StructArray) -> None:
        self._fields = fields
        self.names = {field.name for field in fields.type}
        self.n_rows = len(fields)

    def texts(self, name: str) -> pa.Array:
        """Texts of a field, empty where an optional part is absent."""
        return self._fields.field(name)

    def numbers(self, name: str, default: int = 0) -> Int64:
        """Numbers of a field; the default where it is absent."""
        if name not in self.names:
            return np.full(self.n_rows, default, np.int64)
        field_texts = self.texts(name)
        if pc.any(pc.equal(field_texts, "")).as_py():
            field_texts = pc.if_else(pc.equal(field_texts, ""), str(default), field_texts)
        return np.asarray(field_texts.cast(pa.int64()).to_numpy(zero_copy_only=False))


def _from_fields(fields: _Fields, pattern: TimePattern) -> tuple[Int64, Mask, Mask]:
    """Microseconds, whether the time exists, and whether it has a zone, shape (n_matched,) each."""
    days, exists = _days(fields)
    hours, minutes, seconds = _hours(fields), fields.numbers("M"), fields.numbers("S")
    micros = ((hours * 60 + minutes) * 60 + seconds) * _US + _fractions(fields)
    exists &= micros <= _DAY_US  # 24:00 is the next midnight, and 24:01 does not exist
    offsets, has_zone = _offsets(fields, pattern)
    return days * _DAY_US + micros - offsets, exists, has_zone


def _days(fields: _Fields) -> tuple[Int64, Mask]:
    """Days since 1970 and whether the date exists."""
    if "G" in fields.names:
        return _days_of_week(fields)
    if "Y" in fields.names:
        years = fields.numbers("Y")
    else:
        years = fields.numbers("y")
        years = years + np.where(years >= _CENTURY_PIVOT, 1900, 2000)
    if "j" in fields.names:
        days = _first_days(years) + fields.numbers("j") - 1
        return days, (days < _first_days(years + 1)) & (years >= 1)
    months = _months(fields)
    month_starts = (years - 1970) * 12 + months - 1
    first_days = month_starts.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    next_days = (month_starts + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    days = first_days + fields.numbers("d") - 1
    return days, (days < next_days) & (years >= 1)


def _days_of_week(fields: _Fields) -> tuple[Int64, Mask]:
    """Days of ISO weeks: week 1 contains 4 January, and weeks begin on Monday."""
    years = fields.numbers("G")
    starts, next_starts = _week_starts(years), _week_starts(years + 1)
    days = starts + (fields.numbers("V") - 1) * 7 + fields.numbers("u") - 1
    return days, (days < next_starts) & (years >= 1)


def _week_starts(years: Int64) -> Int64:
    fourth_days = _first_days(years) + 3
    return fourth_days - (fourth_days + 3) % 7  # 1970-01-01 was a Thursday


def _first_days(years: Int64) -> Int64:
    return (years - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)


def _months(fields: _Fields) -> Int64:
    for name in ("b", "B"):
        if name in fields.names:
            prefixes = pc.utf8_slice_codeunits(pc.utf8_lower(fields.texts(name)), 0, 3)
            month_idx = pc.index_in(prefixes, value_set=_MONTH_NAMES)
            return np.asarray(month_idx.to_numpy(zero_copy_only=False)).astype(np.int64) + 1
    return fields.numbers("m")


def _hours(fields: _Fields) -> Int64:
    if "I" not in fields.names:
        return fields.numbers("H")
    is_afternoon = _as_mask(pc.starts_with(pc.utf8_lower(fields.texts("p")), "p"))
    return fields.numbers("I") % 12 + 12 * is_afternoon


def _fractions(fields: _Fields) -> Int64:
    """Microseconds of the fraction of a second; further digits are cut off."""
    if "f" not in fields.names:
        return np.zeros(fields.n_rows, np.int64)
    digits = pc.utf8_rpad(pc.utf8_slice_codeunits(fields.texts("f"), 0, 6), 6, padding="0")
    return np.asarray(digits.cast(pa.int64()).to_numpy(zero_copy_only=False))


def _offsets(fields: _Fields, pattern: TimePattern) -> tuple[Int64, Mask]:
    """Offset from UTC, microseconds, and whether there is one."""
    n_rows = fields.n_rows
    literal_offset = _offset_us(pattern.literal_zone or "")
    offsets = np.full(n_rows, literal_offset or 0, np.int64)
    has_zone = np.full(n_rows, literal_offset is not None)
    for name in ("z", "Z"):
        if name in fields.names:
            encoded_zones = fields.texts(name).dictionary_encode()
            zone_offsets = [_offset_us(text) for text in encoded_zones.dictionary.to_pylist()]
            zone_codes = encoded_zones.indices.to_numpy(zero_copy_only=False)
            is_stated = np.array([offset is not None for offset in zone_offsets])[zone_codes]
            stated_offsets = np.array([offset or 0 for offset in zone_offsets], np.int64)
            offsets = np.where(is_stated, stated_offsets[zone_codes], offsets)
            has_zone |= is_stated
    return offsets, has_zone


def _offset_us(zone_text: str) -> int | None:
    offset = fixed_offset(zone_text) if zone_text else None
    return None if offset is None else round(offset.total_seconds()) * _US


def _as_mask(mask: pa.Array) -> Mask:
    return np.asarray(mask.to_numpy(zero_copy_only=False), dtype=np.bool_)
