"""Time format of a column of texts: epochs, ISO 8601, and strptime patterns by trial."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Final

_LOOKED_AT: Final = 400
_TRIAL: Final = 12
_TRIAL_STEP: Final = 37
_MIN_SHARE: Final = 0.9
_NUMBER: Final = re.compile(r"^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$")
_ISO: Final = re.compile(
    r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?)?\s?([Zz]|[+-]\d{2}:?\d{2})?$"
)
_ISO_ZONE: Final = re.compile(r"\d{2}:\d{2}.*([Zz]|[+-]\d{2}:?\d{2})$")
CLOCK: Final = re.compile(r"^\d{1,2}:\d{1,2}(:\d{1,2})?$")
"""A time of day without a date."""

_DIRECTIVE: Final = re.compile("%[A-Za-z]")
_DIGIT: Final = re.compile(r"\d")
_EPOCH_UNITS: Final = (("epoch_s", 1.0), ("epoch_ms", 1e3), ("epoch_us", 1e6), ("epoch_ns", 1e9))
_EARLIEST_S: Final = 631_152_000  # 1990
_LATEST_S: Final = 4_102_444_800  # 2100
_DATES: Final = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d.%m.%y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%b %d %Y",
    "%Y年%m月%d日",
    "%Y%m%d",
)
_CLOCKS: Final = (
    "",
    "{}%H:%M:%S",
    "{}%H:%M",
    "{}%H:%M:%S.%f",
    "{}%I:%M:%S %p",
    "{}%I:%M %p",
    "{}%H:%M:%S %z",
    "{}%H:%M:%S%z",
    "{}%H:%M:%S UTC",
    "{}%H:%M:%S GMT",
    "{}%H:%M:%SZ",
    "{}%H時",
    "{}%H時%M分",
    "{}%H時%M分%S秒",
    "{}%H%M%S",
)
_WHOLE: Final = (
    "%a %b %d %H:%M:%S %z %Y",
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S GMT",
    "%d/%b/%Y:%H:%M:%S %z",
)
_DAY_FIRST: Final = {"%m/%d": "%d/%m", "%m-%d": "%d-%m"}


@dataclass(frozen=True, slots=True)
class TimeGuess:
    """Time format of a column.

    Attributes:
        kind: Value of ``time.kind``.
        patterns: strptime formats; several if the format changes.
        has_zone: Whether the values fix the instant without a time zone.
        read_share: Share of the values that the format reads.
        doubts: What is not sure.
    """

    kind: str
    patterns: tuple[str, ...] = ()
    has_zone: bool = False
    read_share: float = 1.0
    doubts: tuple[str, ...] = ()


def guess_times(texts: Sequence[str | None], *, is_named_time: bool) -> TimeGuess | None:
    """Format of a column, or None if it does not hold times.

    Args:
        texts: Values of the column; None where one is missing.
        is_named_time: Whether the column's name means a time, so that small numbers may be days.
    """
    values = [text.strip() for text in texts if text and text.strip()][:_LOOKED_AT]
    if not values:
        return None
    n_numbers = sum(_NUMBER.match(cell_text) is not None for cell_text in values)
    if n_numbers >= _MIN_SHARE * len(values):
        numbers = [cell_text for cell_text in values if _NUMBER.match(cell_text)]
        return _guess_numbers(numbers, is_named_time=is_named_time)
    n_iso = sum(_ISO.match(cell_text) is not None for cell_text in values)
    if n_iso >= _MIN_SHARE * len(values):
        return _iso_guess(values, n_iso / len(values))
    return _guess_patterns(values, n_iso / len(values))


def guess_dates(texts: Sequence[str | None]) -> str | None:
    """Strptime pattern of a column of dates without a time of day, or None."""
    values = [text.strip() for text in texts if text and text.strip()][:_LOOKED_AT]
    patterns = [
        time_pattern
        for time_pattern in _DATES
        if values and _share(values, time_pattern) >= _MIN_SHARE
    ]
    return patterns[0] if patterns else None


def _iso_guess(values: Sequence[str], read_share: float) -> TimeGuess:
    values = [cell_text for cell_text in values if _ISO.match(cell_text)]
    n_zoned = sum(_ISO_ZONE.search(cell_text) is not None for cell_text in values)
    doubts: tuple[str, ...] = ()
    if 0 < n_zoned < len(values):
        doubts = (f"time: {n_zoned} of {len(values)} times carry an offset, the others do not",)
    if all(len(cell_text) == len("2024-03-04") for cell_text in values):
        doubts = ("time: the column holds dates without a time of day; all events are at midnight",)
    return TimeGuess("timestamp", (), n_zoned == len(values), read_share, doubts)


def _guess_numbers(values: Sequence[str], *, is_named_time: bool) -> TimeGuess | None:
    numbers = [float(cell_text) for cell_text in values]
    for width, time_pattern in ((8, "%Y%m%d"), (14, "%Y%m%d%H%M%S"), (12, "%Y%m%d%H%M")):
        if (
            all(len(cell_text) == width for cell_text in values)
            and _share(values, time_pattern) == 1.0
        ):
            return TimeGuess("strptime", (time_pattern,))
    shares = {
        kind: sum(_EARLIEST_S <= number / unit <= _LATEST_S for number in numbers) / len(numbers)
        for kind, unit in _EPOCH_UNITS
    }
    best_kind = max(shares, key=lambda kind: shares[kind])
    mixed_kinds = [kind for kind, read_share in shares.items() if read_share > 0.02]
    if sum(shares.values()) >= _MIN_SHARE and (shares[best_kind] >= 0.5 or is_named_time):
        doubts: tuple[str, ...] = ()
        if len(mixed_kinds) > 1:
            doubts = (
                f"time: the numbers are of several units ({', '.join(mixed_kinds)}); those of "
                f"another unit than {best_kind} are refused",
            )
        return TimeGuess(best_kind, (), True, shares[best_kind], doubts)
    if is_named_time and all(abs(number) < 40_000 and number % 1 == 0 for number in numbers):
        return TimeGuess(
            "days",
            doubts=("time: the numbers look like days; set the date from which they are counted",),
        )
    return None


def _guess_patterns(values: Sequence[str], iso_share: float) -> TimeGuess | None:
    shares = {
        time_pattern: read_share
        for time_pattern in _candidate_patterns(values)
        if (read_share := _share(values, time_pattern)) > 0.05
    }
    if not shares:
        return None
    ranking = sorted(shares, key=lambda time_pattern: shares[time_pattern], reverse=True)
    best = ranking[0]
    if shares[best] < _MIN_SHARE:
        return _mixed_guess(values, ranking, iso_share)
    doubts = []
    twin = next(
        (
            time_pattern
            for time_pattern in ranking[1:]
            if shares[time_pattern] >= _MIN_SHARE and _is_day_month_twin(best, time_pattern)
        ),
        None,
    )
    if twin:
        doubts.append(f"time.pattern: {twin} fits as well; day and month may be swapped")
    return TimeGuess("strptime", (best,), _has_zone(best), shares[best], tuple(doubts))


def _mixed_guess(
    values: Sequence[str], ranking: Sequence[str], iso_share: float
) -> TimeGuess | None:
    """Several patterns that read nearly all values together."""
    chosen = ["ISO8601"] if iso_share > 0.05 else []
    unread = [cell_text for cell_text in values if not (chosen and _ISO.match(cell_text))]
    for time_pattern in ranking:
        still_unread = [cell_text for cell_text in unread if not _reads(cell_text, time_pattern)]
        if len(still_unread) < len(unread):
            chosen.append(time_pattern)
            unread = still_unread
    read_share = 1 - len(unread) / len(values)
    if read_share < _MIN_SHARE:
        return None
    doubts = (f"time.pattern: the format changes within the file: {', '.join(chosen)}",)
    return TimeGuess("strptime", tuple(chosen), False, read_share, doubts)


def _candidate_patterns(values: Sequence[str]) -> list[str]:
    """Patterns that read one of a few values; the others are not tried on all of them."""
    # Steps of a prime, so that formats that alternate are all seen.
    trial_values = {values[index * _TRIAL_STEP % len(values)] for index in range(_TRIAL)}
    joined = [
        date + clock.format(separator)
        for date, clock, separator in product(_DATES, _CLOCKS, (" ", "T", ""))
        if clock or separator == " "
    ]
    candidates = dict.fromkeys([*_WHOLE, *joined])
    return [
        time_pattern
        for time_pattern in candidates
        if any(
            _may_read(cell_text, time_pattern) and _reads(cell_text, time_pattern)
            for cell_text in trial_values
        )
    ]


def _may_read(cell_text: str, time_pattern: str) -> bool:
    """Whether a value has the literal characters of a pattern; the pattern is not compiled."""
    return set(_DIRECTIVE.sub("", time_pattern)) <= set(cell_text) and bool(
        _DIGIT.search(cell_text)
    )


def _share(values: Sequence[str], time_pattern: str) -> float:
    return sum(_reads(cell_text, time_pattern) for cell_text in values) / len(values)


def _reads(cell_text: str, time_pattern: str) -> bool:
    try:
        year = datetime.strptime(cell_text, time_pattern).year  # noqa: DTZ007 - only the format matters
    except ValueError:
        return False
    return 1900 <= year <= 2100


def _is_day_month_twin(time_pattern: str, other: str) -> bool:
    """Whether two patterns differ in the order of day and month only."""
    return any(
        time_pattern.replace(month_first, day_first) == other
        or other.replace(month_first, day_first) == time_pattern
        for month_first, day_first in _DAY_FIRST.items()
    )


def _has_zone(time_pattern: str) -> bool:
    return time_pattern.endswith(("%z", "UTC", "GMT", "Z")) or "%z" in time_pattern
