"""Contract columns of the columns of a log, by their names and their values."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.datasets.guessing.column_names import is_place_name, name_scores
from chronotope.datasets.guessing.samples import LogSample
from chronotope.datasets.guessing.time_values import CLOCK, TimeGuess, guess_dates, guess_times

_NUMBER: Final = re.compile(r"^[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?$")
_DECIMAL_COMMA: Final = re.compile(r"^[+-]?\d*,\d+$")
_NULL_WORDS: Final = frozenset(
    ("NULL", "null", "\\N", "NaN", "nan", "NA", "N/A", "None", "none", "-", "\N{EM DASH}", "?")
)
_ROLES: Final = (
    c.USER_ID,
    c.ITEM_ID,
    c.OCCURRED_AT,
    c.LAT,
    c.LON,
    c.EVENT_TYPE,
    c.SESSION_ID,
    c.PLACE_ID,
    c.VALUE,
    c.UTC_OFFSET_MIN,
)
_RIVAL_SCORE: Final = 0.9
_LOOKED_AT: Final = 2_000
_LEAST_NULLS: Final = 3
_NUMBER_ROLES: Final = (c.LAT, c.LON, c.VALUE)
_MAX_RATINGS: Final = 25


@dataclass(slots=True)
class ColumnRoles:
    """Contract columns that were assigned to the columns of a log.

    Attributes:
        columns: Source column by contract column.
        time: Format of the time column; None if there is none.
        joined_time: Columns of the date and of the time of day, if they are two.
        items_are_places: Whether items are places.
        decimal_comma: Whether numbers have a decimal comma.
        doubts: What is not sure.
    """

    columns: dict[str, str] = field(default_factory=dict)
    time: TimeGuess | None = None
    joined_time: tuple[str, str] | None = None
    items_are_places: bool = False
    decimal_comma: bool = False
    doubts: list[str] = field(default_factory=list)


def assign_roles(sample: LogSample) -> ColumnRoles:
    """Assign contract columns by names first, then by values and order."""
    roles = ColumnRoles()
    values = {
        column_name: _present(cell_texts) for column_name, cell_texts in sample.columns.items()
    }
    time_guesses = _time_guesses(sample)
    has_names = sample.dialect is None or sample.dialect.has_header
    _assign_by_names(roles, values, time_guesses, has_names=has_names)
    _assign_time(roles, sample.columns, time_guesses)
    _assign_by_order(roles, values, has_names=has_names)
    number_columns = [
        roles.columns[column_role] for column_role in _NUMBER_ROLES if column_role in roles.columns
    ]
    roles.decimal_comma = any(
        any(_DECIMAL_COMMA.match(text) for text in values[column_name])
        for column_name in number_columns
    )
    _note_null_words(roles, sample.columns)
    _note_unique_sessions(roles, values)
    _note_item_kind(roles, has_names=has_names)
    roles.columns = {
        column_role: roles.columns[column_role]
        for column_role in _ROLES
        if column_role in roles.columns
    }
    return roles


def _present(cell_texts: Sequence[str | None]) -> list[str]:
    return [
        text.strip() for text in cell_texts[:_LOOKED_AT] if text and text.strip() not in _NULL_WORDS
    ]


def _note_null_words(roles: ColumnRoles, columns: Mapping[str, Sequence[str | None]]) -> None:
    """Name words that may stand for a missing value; in ids a word may also be an id."""
    for column_role, column_name in roles.columns.items():
        counts = Counter(text.strip() for text in columns[column_name] if text)
        least_count = 1 if column_role in _NUMBER_ROLES else _LEAST_NULLS
        words = sorted(word for word in _NULL_WORDS if counts[word] >= least_count)
        if words:
            roles.doubts.append(
                f"columns: {column_name} has {', '.join(words)}; if rows with them are refused or "
                f"become ids, list them under null_values"
            )


def _time_guesses(sample: LogSample) -> dict[str, TimeGuess]:
    """Format of each column that may hold times."""
    guesses = {}
    for column_name, cell_texts in sample.columns.items():
        arrow_type = sample.arrow_types.get(column_name)
        if arrow_type is not None and (
            pa.types.is_timestamp(arrow_type) or pa.types.is_date(arrow_type)
        ):
            has_zone = pa.types.is_timestamp(arrow_type) and arrow_type.tz is not None
            guesses[column_name] = TimeGuess("timestamp", has_zone=has_zone)
            continue
        is_named_time = c.OCCURRED_AT in name_scores(column_name)
        time_guess = guess_times(cell_texts, is_named_time=is_named_time)
        if time_guess is not None:
            guesses[column_name] = time_guess
    return guesses


def _assign_by_names(
    roles: ColumnRoles,
    values: Mapping[str, list[str]],
    time_guesses: Mapping[str, TimeGuess],
    *,
    has_names: bool,
) -> None:
    """Assign each role to the column whose name fits best and whose values allow it."""
    if not has_names:
        return
    candidates = [
        (score, -_ROLES.index(column_role), -position, column_role, column_name)
        for position, column_name in enumerate(values)
        for column_role, score in name_scores(column_name).items()
        if _values_allow(column_role, values[column_name], column_name in time_guesses)
    ]
    for _, _, _, column_role, column_name in sorted(candidates, reverse=True):
        if column_role not in roles.columns and column_name not in roles.columns.values():
            roles.columns[column_role] = column_name
    for column_role in (c.USER_ID, c.ITEM_ID):
        rivals = [
            column_name
            for score, _, _, rival_role, column_name in candidates
            if rival_role == column_role
            and column_name != roles.columns.get(column_role)
            and score >= _RIVAL_SCORE
        ]
        if rivals:
            roles.doubts.append(
                f"columns: {column_role} is {roles.columns[column_role]}; "
                f"it could be {' or '.join(rivals)}"
            )


def _values_allow(column_role: str, cell_texts: Sequence[str], holds_times: bool) -> bool:
    if column_role == c.OCCURRED_AT:
        return holds_times
    if column_role in (c.LAT, c.LON):
        bound = 90 if column_role == c.LAT else 180
        return _is_numeric(cell_texts) and all(
            abs(number) <= bound for number in _numbers(cell_texts)
        )
    if column_role == c.VALUE:
        return _is_numeric(cell_texts)
    if column_role == c.UTC_OFFSET_MIN:
        return _is_numeric(cell_texts) and all(
            abs(number) <= 1_440 for number in _numbers(cell_texts)
        )
    if column_role == c.EVENT_TYPE:
        return len(set(cell_texts)) <= max(20, len(cell_texts) // 20)
    return bool(cell_texts)


def _is_numeric(cell_texts: Sequence[str]) -> bool:
    n_numbers = sum(_NUMBER.match(text) is not None for text in cell_texts)
    return bool(cell_texts) and n_numbers >= 0.9 * len(cell_texts)


def _numbers(cell_texts: Sequence[str]) -> list[float]:
    return [float(text.replace(",", ".")) for text in cell_texts if _NUMBER.match(text)]


def _assign_time(
    roles: ColumnRoles,
    columns: Mapping[str, Sequence[str | None]],
    time_guesses: Mapping[str, TimeGuess],
) -> None:
    """The time column, or a date column and a column with the time of day."""
    if _join_date_and_clock(roles, columns):
        return
    time_column = roles.columns.get(c.OCCURRED_AT)
    if time_column is None:
        free_columns = [
            column_name for column_name in time_guesses if column_name not in roles.columns.values()
        ]
        if not free_columns:
            roles.doubts.append("columns: no column holds times that this command can read")
            return
        # Texts that read as times are surer than numbers, which may be ids.
        time_column = max(
            free_columns, key=lambda column_name: time_guesses[column_name].kind == "timestamp"
        )
        roles.columns[c.OCCURRED_AT] = time_column
        roles.doubts.append(f"columns: occurred_at is {time_column} by its values")
    others = [
        column_name
        for column_name in time_guesses
        if column_name != time_column
        and column_name not in roles.columns.values()
        and name_scores(column_name)
    ]
    if others:
        roles.doubts.append(
            f"columns: occurred_at is {time_column}; {', '.join(others)} may hold times as well"
        )
    roles.time = time_guesses[time_column]
    roles.doubts += roles.time.doubts


def _join_date_and_clock(roles: ColumnRoles, columns: Mapping[str, Sequence[str | None]]) -> bool:
    clocks = [
        column_name for column_name, cell_texts in columns.items() if _holds_clocks(cell_texts)
    ]
    dates = {
        column_name: pattern
        for column_name, cell_texts in columns.items()
        if (pattern := guess_dates(cell_texts))
    }
    if not clocks or not dates:
        return False
    date_column, clock_column = next(iter(dates)), clocks[0]
    has_seconds = any(text.count(":") == 2 for text in _present(columns[clock_column]))
    clock_pattern = "%H:%M:%S" if has_seconds else "%H:%M"
    for column_role in [
        column_role
        for column_role, column_name in roles.columns.items()
        if column_name in (date_column, clock_column)
    ]:
        del roles.columns[column_role]
    roles.joined_time = (date_column, clock_column)
    roles.time = TimeGuess("strptime", (f"{dates[date_column]}, {clock_pattern}",))
    return True


def _holds_clocks(cell_texts: Sequence[str | None]) -> bool:
    values = _present(cell_texts)
    return bool(values) and all(CLOCK.match(value) for value in values)


def _assign_by_order(
    roles: ColumnRoles, values: Mapping[str, list[str]], *, has_names: bool
) -> None:
    """Assign what the names left open: coordinates, then ids in the usual order."""
    used = {*roles.columns.values(), *(roles.joined_time or ())}
    free_columns = [
        column_name for column_name in values if column_name not in used and values[column_name]
    ]
    if not has_names:
        free_columns = _assign_coordinates(roles, values, free_columns)
        free_columns = _assign_offset(roles, values, free_columns)
    for column_role in (c.USER_ID, c.ITEM_ID):
        if column_role in roles.columns:
            continue
        if not free_columns:
            roles.doubts.append(f"columns: no column is left for {column_role}")
            continue
        roles.columns[column_role] = free_columns.pop(0)
        roles.doubts.append(
            f"columns: {column_role} is {roles.columns[column_role]} by its position"
        )
    if not has_names and c.VALUE not in roles.columns:
        ratings = [
            column_name
            for column_name in free_columns
            if _is_numeric(values[column_name]) and len(set(values[column_name])) <= _MAX_RATINGS
        ]
        if ratings:
            roles.columns[c.VALUE] = ratings[0]
            roles.doubts.append(f"columns: value is {ratings[0]} by its few distinct numbers")


def _assign_coordinates(
    roles: ColumnRoles, values: Mapping[str, list[str]], free_columns: list[str]
) -> list[str]:
    """Two neighbouring columns of fractions are latitude and longitude."""
    for lat_name, lon_name in pairwise(free_columns):
        if all(_holds_fractions(values[column_name]) for column_name in (lat_name, lon_name)) and (
            _values_allow(c.LAT, values[lat_name], False)
            and _values_allow(c.LON, values[lon_name], False)
        ):
            roles.columns |= {c.LAT: lat_name, c.LON: lon_name}
            roles.doubts.append(f"columns: lat is {lat_name} and lon is {lon_name} by their values")
            return [
                column_name
                for column_name in free_columns
                if column_name not in (lat_name, lon_name)
            ]
    return free_columns


def _assign_offset(
    roles: ColumnRoles, values: Mapping[str, list[str]], free_columns: list[str]
) -> list[str]:
    """A column of whole quarters of an hour is the offset of the local time."""
    for column_name in free_columns[2:]:
        numbers = _numbers(values[column_name])
        if _values_allow(c.UTC_OFFSET_MIN, values[column_name], False) and all(
            (number % 15 == 0 and abs(number) >= 60) or number == 0 for number in numbers
        ):
            roles.columns[c.UTC_OFFSET_MIN] = column_name
            roles.doubts.append(f"columns: utc_offset_min is {column_name} by its values")
            return [other for other in free_columns if other != column_name]
    return free_columns


def _holds_fractions(cell_texts: Sequence[str]) -> bool:
    n_fractions = sum("." in text and _NUMBER.match(text) is not None for text in cell_texts)
    return bool(cell_texts) and n_fractions > 0.8 * len(cell_texts)


def _note_unique_sessions(roles: ColumnRoles, values: Mapping[str, list[str]]) -> None:
    sessions = values.get(roles.columns.get(c.SESSION_ID, ""), [])
    if len(sessions) > _MAX_RATINGS and len(set(sessions)) == len(sessions):
        roles.doubts.append(
            f"columns: session_id is {roles.columns[c.SESSION_ID]}, which differs in every row, so "
            "each session is one event"
        )


def _note_item_kind(roles: ColumnRoles, *, has_names: bool) -> None:
    item_column = roles.columns.get(c.ITEM_ID, "")
    if c.PLACE_ID in roles.columns:
        return
    if is_place_name(item_column) or (not has_names and c.LAT in roles.columns):
        roles.items_are_places = True
        roles.doubts.append("items_are_places: the items are taken as places, as in check-ins")
    elif c.LAT in roles.columns:
        roles.doubts.append("items_are_places: set it to true if the items are places")
