"""Likely causes of times that cannot be read, for the reasons of refused rows."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.datasets.time_spec import EPOCH_UNITS_NS, RELATIVE_UNITS_NS, TimeKind, TimeSpec
from chronotope.datasets.values.numbers import as_numbers, is_textual
from chronotope.spacetime.time_zones import AMBIGUOUS_ZONES

_USUAL_S: Final = (631_152_000, 4_102_444_800)
"""Seconds since 1970 of the years 1990 to 2100; a count lies in them in one unit at most."""

_NUMBER_HINTS: Final = (
    (
        r"^(19|20)\d{2}(0[1-9]|1[0-2])([0-2]\d|3[01])(\.0)?$",
        'set kind: strptime, pattern: "%Y%m%d"',
    ),
    (r"^(19|20)\d{12}$", 'set kind: strptime, pattern: "%Y%m%d%H%M%S"'),
    (r"^[+-]?\d{1,6}(\.\d*)?$", "for a day number set kind: days and origin"),
    (r"^\d{9,10}(\.\d*)?$", "set kind: epoch_s"),
    (r"^\d{12,13}(\.\d*)?$", "set kind: epoch_ms"),
    (r"^\d{15,16}$", "set kind: epoch_us"),
    (r"^\d{18,19}$", "set kind: epoch_ns"),
)
"""Regular expressions of plain numbers, and what reads them."""

_TEXT_HINTS: Final = (
    (
        rf"\d\s*({'|'.join(sorted(AMBIGUOUS_ZONES))})\s*\d*$",
        "the zone's abbreviation is ambiguous; set timezone, and a pattern with the abbreviation",
    ),
    (
        r"^\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b",
        "day and month may be in either order; set kind: strptime and pattern, or a list of them",
    ),
    (r"^\d{4}-W\d{2}-[1-7]$", 'set kind: strptime, pattern: "%G-W%V-%u"'),
    (r"^\d{4}-\d{3}$", 'set kind: strptime, pattern: "%Y-%j"'),
    (r"^/Date\(", "store the number of milliseconds alone, and set kind: epoch_ms"),
    (r"(?i)(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)", "set kind: strptime and pattern"),
)

_ISO_DATE: Final = r"^\d{4}-\d{1,2}-\d{1,2}"

_ISO_HINTS: Final = (
    (
        _ISO_DATE,
        "the text is ISO 8601; add ISO8601 to the patterns, or set kind: timestamp",
    ),
)


def unread_reasons(
    column: pa.Array, instants: pa.Array, is_unread: npt.NDArray[np.bool_], time_spec: TimeSpec
) -> dict[str, npt.NDArray[np.bool_]]:
    """Reasons of the times that were not read, or that were read in a wrong unit.

    Args:
        column: The times as read from the source, shape (n,).
        instants: Result of ``as_instants``, shape (n,).
        is_unread: Whether a present value could not be read, shape (n,).
        time_spec: Encoding of the column.

    Returns:
        Mask of the rows by reason, without the column's name.
    """
    problem_text = f"cannot be read as {time_spec.kind}"
    is_suspect = is_unread
    if time_spec.kind in EPOCH_UNITS_NS:
        is_suspect = is_unread | _is_unusual(instants)
    if not is_suspect.any():
        return {}
    suspect_rows = np.flatnonzero(is_suspect)
    hint_masks = _hints(column.take(pa.array(suspect_rows)), time_spec.kind)
    reason_texts: dict[str, npt.NDArray[np.bool_]] = {}
    is_open = is_suspect.copy()
    for hint_text, hint_mask in hint_masks.items():
        is_hinted = np.zeros(len(column), np.bool_)
        is_hinted[suspect_rows[hint_mask]] = True
        is_hinted &= is_open
        if is_hinted.any():
            reason_texts[f"{problem_text}: {hint_text}"] = is_hinted
            is_open &= ~is_hinted
    is_plain = is_unread & is_open
    return reason_texts | ({problem_text: is_plain} if is_plain.any() else {})


def _is_unusual(instants: pa.Array) -> npt.NDArray[np.bool_]:
    micros = np.asarray(instants.cast(pa.int64()).fill_null(_USUAL_S[0] * 1_000_000).to_numpy())
    return (micros < _USUAL_S[0] * 1_000_000) | (micros >= _USUAL_S[1] * 1_000_000)


def _hints(values: pa.Array, kind: TimeKind) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks of values by the hint that fits them, in order of precedence."""
    if pa.types.is_temporal(values.type):
        return {f"the column has the type {values.type}; set kind: timestamp": _all(values)}
    if kind in EPOCH_UNITS_NS:
        numbers = as_numbers(values).to_numpy(zero_copy_only=False)
        return {
            f"the number is in the unit of {other_kind}": _is_usual(numbers * (unit_ns / 1e9))
            for other_kind, unit_ns in EPOCH_UNITS_NS.items()
            if other_kind is not kind
        } | _iso_hints(values)
    if kind in RELATIVE_UNITS_NS:
        return {}
    is_text = is_textual(values.type)
    if pa.types.is_integer(values.type) or is_text:
        texts = pc.utf8_trim_whitespace(values.cast(pa.string()))
        hint_patterns = (*_NUMBER_HINTS, *(_TEXT_HINTS if is_text else ()))
        if kind is TimeKind.STRPTIME:
            hint_patterns = (*_TEXT_HINTS[:1], *_ISO_HINTS)
        return {hint_text: _matches(texts, pattern) for pattern, hint_text in hint_patterns}
    return {f"the column has the type {values.type}": _all(values)}


def _all(values: pa.Array) -> npt.NDArray[np.bool_]:
    return np.ones(len(values), np.bool_)


def _iso_hints(values: pa.Array) -> dict[str, npt.NDArray[np.bool_]]:
    """The hint of a text of ISO 8601 where a number is expected."""
    if not is_textual(values.type):
        return {}
    texts = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return {"the text is ISO 8601; set kind: timestamp": _matches(texts, _ISO_DATE)}


def _is_usual(seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return (seconds >= _USUAL_S[0]) & (seconds < _USUAL_S[1])


def _matches(texts: pa.Array, pattern: str) -> npt.NDArray[np.bool_]:
    is_match = pc.fill_null(pc.match_substring_regex(texts, pattern), False)
    return np.asarray(is_match.to_numpy(zero_copy_only=False), np.bool_)
