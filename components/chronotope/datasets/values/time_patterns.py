"""Time patterns in the style of ``strptime``, compiled to regular expressions with named fields."""

import re
from dataclasses import dataclass
from typing import Final

from chronotope.contracts.errors import ConfigError
from chronotope.spacetime.time_zones import AMBIGUOUS_ZONES, fixed_offset

ISO_8601: Final = "ISO8601"
"""Pattern that stands for all forms of ISO 8601."""

ZONE: Final = r"(?:Z|(?:UTC|GMT|UT)(?:[+-]\d{1,2}(?::?\d{2})?)?|[+-]\d{2}(?::?\d{2}(?::?\d{2})?)?)"
"""Zone at the end of a time: Z, UTC, an offset, or both as in UTC+8."""

_CLOCK: Final = (
    r"(?P<H>2[0-4]|[01]?\d)(?::(?P<M>[0-5]?\d)(?::(?P<S>[0-5]?\d)(?:[.,](?P<f>\d+))?)?)?"
)
_ISO_PATTERNS: Final = (
    rf"(?P<Y>\d{{4}})[-/.](?P<m>1[0-2]|0?[1-9])[-/.](?P<d>3[01]|[12]\d|0?[1-9])"
    rf"(?:(?:T|\s+){_CLOCK}\s*(?P<z>{ZONE})?(?:\[[A-Za-z0-9_/+-]+\])?)?",
    r"(?P<Y>\d{4})(?P<m>1[0-2]|0[1-9])(?P<d>3[01]|[12]\d|0[1-9])"
    r"T(?P<H>2[0-4]|[01]\d)(?:(?P<M>[0-5]\d)(?:(?P<S>[0-5]\d)(?:[.,](?P<f>\d+))?)?)?"
    rf"\s*(?P<z>{ZONE})?",
)

MONTHS: Final = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FIELDS: Final = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "G": r"\d{4}",
    "m": r"1[0-2]|0?[1-9]",
    "d": r"3[01]|[12]\d|0?[1-9]",
    "j": r"36[0-6]|3[0-5]\d|[12]\d\d|0?[1-9]\d|0?0?[1-9]",
    "H": r"2[0-4]|[01]?\d",
    "I": r"1[0-2]|0?[1-9]",
    "M": r"[0-5]?\d",
    "S": r"[0-5]?\d",
    "f": r"\d+",
    "p": r"AM|PM|A\.M\.|P\.M\.",
    "b": "|".join(month[:3] for month in MONTHS),
    "B": "|".join(MONTHS),
    "a": "|".join(weekday[:3] for weekday in _WEEKDAYS),
    "A": "|".join(_WEEKDAYS),
    "V": r"5[0-3]|[1-4]\d|0?[1-9]",
    "u": r"[1-7]",
    "z": ZONE,
    "Z": ZONE,
}
"""Regular expression of each directive."""

_SHORTHANDS: Final = {
    "F": "%Y-%m-%d",
    "T": "%H:%M:%S",
    "R": "%H:%M",
    "D": "%m/%d/%y",
    "e": "%d",
    "k": "%H",
    "l": "%I",
    "h": "%b",
    "n": " ",
    "t": " ",
}
_WAYS_OUT: Final = {
    "s": "Use `kind: epoch_s` without a pattern for seconds since 1970",
    "L": "Use %f for fractions of a second, of any number of digits",
    "N": "Use %f for fractions of a second, of any number of digits",
    "3": "Use %f for fractions of a second, of any number of digits",
    "Q": "Use `kind: epoch_ms` without a pattern for milliseconds since 1970",
    "P": "Use %p, which reads am and pm in either case",
    "U": "Use %G-W%V-%u for a week with its weekday; a week alone is no date",
    "W": "Use %G-W%V-%u for a week with its weekday; a week alone is no date",
    "w": "Use %u for the number of the weekday, with %G and %V",
    "c": "Write the parts that your texts have, such as %a %b %d %H:%M:%S %Y",
    "x": "Write the parts that your texts have, such as %d.%m.%Y",
    "X": "Write the parts that your texts have, such as %H:%M:%S",
}
_JAVA_TOKENS: Final = {
    "yyyy": "%Y", "YYYY": "%Y", "yy": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%m",
    "dd": "%d", "DD": "%d", "d": "%d", "HH": "%H", "H": "%H", "hh": "%I", "h": "%I", "mm": "%M",
    "ss": "%S", "SSSSSS": "%f", "SSS": "%f", "a": "%p", "XXX": "%z",
    "X": "%z", "Z": "%z", "z": "%z",
}  # fmt: skip
_JAVA: Final = re.compile("|".join(sorted(_JAVA_TOKENS, key=len, reverse=True)))
_DATES: Final = ({"m", "d"}, {"j"}, {"G", "V", "u"})
_NUMERIC: Final = frozenset("YyGmdjHIMSVuf")
_WORDS: Final = re.compile(r"[A-Za-z]+(?:[+-]\d{1,2}(?::?\d{2})?)?")
_LITERAL_OFFSET: Final = re.compile(r"[+-]\d{2}:?\d{2}\s*$")


@dataclass(frozen=True, slots=True)
class TimePattern:
    """A compiled pattern.

    Attributes:
        regex: Regular expression (RE2) of a whole text, its fields named after the directives.
        literal_zone: Zone in the pattern's own text, such as Z; None if there is none.
        abbreviation: Ambiguous zone in the pattern's own text, such as CST; None if there is none.
    """

    regex: str
    literal_zone: str | None = None
    abbreviation: str | None = None


def compile_pattern(pattern: str) -> tuple[TimePattern, ...]:
    """Compile a pattern; ``ISO8601`` gives a pattern for each form of it.

    White space in the pattern stands for any white space in a text, a letter for either case, and
    a number for one with or without leading zeros.

    Raises:
        ConfigError: A directive is unknown, depends on the language of the machine, or occurs
            twice, or the pattern does not determine a day or an hour.
    """
    if pattern.upper().replace(" ", "") in ("ISO8601", "ISO-8601"):
        return tuple(TimePattern(_whole_text(regex)) for regex in _ISO_PATTERNS)
    if "%" not in pattern:
        suggestion = _JAVA.sub(lambda match: _JAVA_TOKENS[match[0]], pattern.replace("'", ""))
        suggestion = suggestion if "%" in suggestion else "it as in %d.%m.%Y %H:%M"
        raise _refusal(pattern, "has no directives such as %Y", f"Write {suggestion}")
    pattern_parts = split_pattern(pattern)
    directives = [pattern_part[1] for pattern_part in pattern_parts if pattern_part[0] == "%"]
    _require_determined(pattern, directives)
    literals = [pattern_part[1:] for pattern_part in pattern_parts if pattern_part[0] != "%"]
    words = [pattern_word for literal in literals for pattern_word in _WORDS.findall(literal)]
    literal_zone = next(
        (pattern_word for pattern_word in words if pattern_word != "T" and _is_zone(pattern_word)),
        None,
    )
    trailing_offset = (
        _LITERAL_OFFSET.search(pattern_parts[-1]) if pattern_parts[-1][0] != "%" else None
    )
    if literal_zone is None and trailing_offset is not None:
        literal_zone = trailing_offset[0]
    abbreviation = next(
        (pattern_word for pattern_word in words if pattern_word in AMBIGUOUS_ZONES), None
    )
    return (TimePattern(_whole_text(_regex(pattern_parts)), literal_zone, abbreviation),)


def split_pattern(pattern: str) -> list[str]:
    """Directives as "%" with a letter, and the texts between them as "=" with the text.

    Raises:
        ConfigError: A directive is unknown.
    """
    pattern_parts: list[str] = []
    part_position = 0
    while part_position < len(pattern):
        char = pattern[part_position]
        part_position += 1
        if char != "%":
            pattern_parts.append(f"={char}")
            continue
        format_letter = pattern[part_position : part_position + 1]
        if (
            format_letter and format_letter in "-#_"
        ):  # without padding, as the C library and Windows write it
            part_position += 1
            format_letter = pattern[part_position : part_position + 1]
        part_position += 1
        pattern_parts += _directive(pattern, format_letter)
    return _joined(pattern_parts)


def _directive(pattern: str, letter: str) -> list[str]:
    if letter == "%":
        return ["=%"]
    if letter in _SHORTHANDS:
        return split_pattern(_SHORTHANDS[letter])
    if letter in _FIELDS:
        return [f"%{letter}"]
    if not letter.strip():
        raise _refusal(pattern, "has a % without a letter", "Remove it, or write %% for a %")
    raise _refusal(
        pattern,
        f"has a directive that cannot be used, %{letter}",
        _WAYS_OUT.get(letter, f"Use directives of strptime: {' '.join(f'%{x}' for x in _FIELDS)}"),
    )


def _joined(parts: list[str]) -> list[str]:
    """The parts with neighbouring literal texts combined."""
    joined_parts: list[str] = []
    for pattern_part in parts:
        if pattern_part[0] == "=" and joined_parts and joined_parts[-1][0] == "=":
            joined_parts[-1] += pattern_part[1:]
        else:
            joined_parts.append(pattern_part)
    return joined_parts


def _regex(parts: list[str]) -> str:
    regex_parts: list[str] = []
    for part_idx, pattern_part in enumerate(parts):
        if pattern_part[0] == "=":
            pieces = re.split(r"(\s+)", pattern_part[1:])
            regex_parts += [r"\s+" if piece.isspace() else re.escape(piece) for piece in pieces]
            continue
        neighbours = (*parts[max(0, part_idx - 1) : part_idx], *parts[part_idx + 1 : part_idx + 2])
        # 2024112 could be 12 January or 2 November: numbers without a separator have zeros.
        is_adjacent = any(
            pattern_part[0] == "%" and pattern_part[1] in _NUMERIC for pattern_part in neighbours
        )
        field_regex = _FIELDS[pattern_part[1]]
        regex_parts.append(
            f"(?P<{pattern_part[1]}>{field_regex.replace('?', '') if is_adjacent else field_regex})"
        )
    return "".join(regex_parts)


def _require_determined(pattern: str, directives: list[str]) -> None:
    """Check that a pattern says which day, which hour, and each of them once."""
    names = ["m" if format_letter in "bB" else format_letter for format_letter in directives]
    names = [
        "Y" if format_letter == "y" else "z" if format_letter == "Z" else format_letter
        for format_letter in names
    ]
    repeated = sorted({format_letter for format_letter in names if names.count(format_letter) > 1})
    if repeated:
        raise _refusal(pattern, f"states %{repeated[0]} twice", "State each part once")
    present = set(names)
    if not present & {"Y", "G"}:
        raise _refusal(pattern, "has no year", "Add %Y, or %y for a year of two digits")
    if not any(date_parts <= present for date_parts in _DATES) or (
        "Y" not in present and not {"G", "V", "u"} <= present
    ):
        raise _refusal(pattern, "names no day", "Add %m and %d, %j, or %G, %V and %u")
    if ("I" in present) != ("p" in present):
        raise _refusal(
            pattern,
            "has only one of %I and %p, so that mornings and evenings are equal",
            "Use %I with %p for a clock of 12 hours, and %H alone for one of 24",
        )
    has_hour = bool(present & {"H", "I"})
    if {"H", "I"} <= present or ("M" in present and not has_hour):
        raise _refusal(pattern, "does not state one hour", "Use %H, or %I with %p")
    if ("S" in present and "M" not in present) or ("f" in present and "S" not in present):
        raise _refusal(pattern, "leaves out the minute or the second", "Add %M, and %S before %f")


def _is_zone(word: str) -> bool:
    return word.upper() == word and fixed_offset(word) is not None


def _whole_text(regex: str) -> str:
    return rf"(?i)^\s*{regex}\s*$"


def _refusal(pattern: str, problem: str, way_out: str) -> ConfigError:
    return ConfigError(f"time.pattern {problem}", received=pattern, way_out=way_out)
