"""Conversion of counts since a point in time, such as milliseconds since 1970, to microseconds.

Integers are converted as integers: a float64 holds only 53 bits, nanoseconds since 1970 take 61.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.datasets.values.numbers import as_numbers, is_textual

EARLIEST_S: Final = -62_135_596_800
"""The first second of year 1, seconds since 1970."""

LATEST_S: Final = 253_402_300_799
"""The last second of year 9999, seconds since 1970."""

_US: Final = 1_000_000
_INT64: Final = np.iinfo(np.int64)
_DECIMAL: Final = r"^(?P<sign>[+-]?)0*(?P<whole>\d+)(?:\.(?P<fraction>\d*))?$"
Int64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def count_micros(column: pa.Array, unit_ns: int, origin_s: int = 0) -> tuple[Int64, Mask]:
    """Microseconds of counts of a unit.

    Fractions beyond a microsecond are cut off, except those of floating-point numbers, which are
    rounded to the nearest microsecond.

    Args:
        column: Numbers, or texts of numbers.
        unit_ns: Length of the unit, nanoseconds.
        origin_s: Seconds since 1970 at the count 0; it limits the counts that can be read.

    Returns:
        Microseconds since the origin, and whether the count could be read and lies in the years
        1 to 9999, shape (n,) each.
    """
    low_s, high_s = EARLIEST_S - origin_s, LATEST_S - origin_s
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.string())
    if pa.types.is_integer(column.type):
        return _from_integers(*_int64_values(column), unit_ns, (low_s, high_s))
    bounds_s = (low_s, high_s)
    if not is_textual(column.type):
        return _from_floats(column, unit_ns, bounds_s)
    integers = _whole_column(column)
    if integers is not None:
        return _from_integers(*_int64_values(integers), unit_ns, bounds_s)
    micros, is_readable = _from_decimal_texts(column, unit_ns, bounds_s)
    if not is_readable.all():  # such as 9.7e8
        float_micros, is_float = _from_floats(column, unit_ns, bounds_s)
        micros, is_readable = np.where(is_readable, micros, float_micros), is_readable | is_float
    return micros, is_readable


def _whole_column(column: pa.Array) -> pa.Array | None:
    """Integers of a column of nothing but plain integers; None for other columns."""
    try:
        column.slice(0, 64).cast(pa.int64())  # a failure of each row takes long
        integers = column.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    is_hexadecimal = pc.match_substring(column, "x", ignore_case=True)  # Arrow reads 0x1F
    return None if pc.any(is_hexadecimal).as_py() else integers


def _from_floats(column: pa.Array, unit_ns: int, bounds_s: tuple[int, int]) -> tuple[Int64, Mask]:
    numbers = as_numbers(column).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore", invalid="ignore"):
        micros = numbers * (unit_ns / 1_000)
        is_readable = (micros >= bounds_s[0] * _US) & (micros <= bounds_s[1] * _US)  # not for NaN
    return np.round(np.where(is_readable, micros, 0.0)).astype(np.int64), is_readable


def _int64_values(column: pa.Array) -> tuple[Int64, Mask]:
    """Integers, and whether they are present and fit 64 bits with a sign."""
    if pa.types.is_uint64(column.type):
        is_large = pc.greater(column, pa.scalar(_INT64.max, pa.uint64()))
        column = pc.if_else(is_large, pa.scalar(None, pa.uint64()), column)
    is_present = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    values = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return np.asarray(values, np.int64), is_present


def _from_integers(
    values: Int64, is_present: Mask, unit_ns: int, bounds_s: tuple[int, int]
) -> tuple[Int64, Mask]:
    low, high = (bound_s * 1_000_000_000 // unit_ns for bound_s in bounds_s)
    low, high = max(low, int(_INT64.min)), min(high, int(_INT64.max))
    is_readable = is_present & (values >= low) & (values <= high)
    inside = np.where(is_readable, values, 0)
    if unit_ns % 1_000 == 0:
        return inside * (unit_ns // 1_000), is_readable
    return inside // (1_000 // unit_ns), is_readable


def _from_decimal_texts(
    column: pa.Array, unit_ns: int, bounds_s: tuple[int, int]
) -> tuple[Int64, Mask]:
    """Texts of integers and decimal fractions, exactly; other texts are not read."""
    fields = pc.extract_regex(pc.utf8_trim_whitespace(column.cast(pa.string())), pattern=_DECIMAL)
    is_match = fields.is_valid()
    digits = fields.field("whole")
    n_digits = pc.utf8_length(digits)
    is_in_int64 = pc.less_equal(digits, str(_INT64.max))  # of texts of equal length
    fits = pc.or_(pc.less(n_digits, 19), pc.and_(pc.equal(n_digits, 19), is_in_int64))
    is_whole = pc.and_(is_match, pc.fill_null(fits, False))
    values = pc.if_else(is_whole, digits, "0").cast(pa.int64()).to_numpy(zero_copy_only=False)
    is_negative = _filled_mask(pc.equal(fields.field("sign"), "-"))
    signs = np.where(is_negative, -1, 1).astype(np.int64)
    magnitudes = np.asarray(values, np.int64)
    signed_values = np.asarray(signs * magnitudes, np.int64)
    micros, is_readable = _from_integers(signed_values, _filled_mask(is_whole), unit_ns, bounds_s)
    if unit_ns % 1_000 == 0 and unit_ns > 1_000:
        micros = micros + signs * _fraction_micros(fields.field("fraction"), unit_ns)
    return np.where(is_readable, micros, 0), is_readable


def _fraction_micros(fractions: pa.Array, unit_ns: int) -> Int64:
    """Microseconds of the digits after the decimal point of a count."""
    first_digits = pc.utf8_slice_codeunits(pc.fill_null(fractions, ""), 0, 12)
    if not pc.any(pc.not_equal(first_digits, "")).as_py():
        return np.zeros(len(fractions), np.int64)
    parts = pc.utf8_rpad(first_digits, 12, padding="0").cast(pa.int64())
    part_values = np.asarray(parts.to_numpy(zero_copy_only=False), np.int64)
    unit_us = unit_ns // 1_000
    # 12 digits of a day in microseconds do not fit 64 bits: two steps of 6 digits.
    high, low = np.divmod(part_values, 1_000_000)
    micros: Int64 = (high * unit_us + low * unit_us // 1_000_000) // 1_000_000
    return micros


def _filled_mask(mask: pa.Array) -> Mask:
    return np.asarray(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), np.bool_)
