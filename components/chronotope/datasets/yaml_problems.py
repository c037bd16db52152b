"""Explanations of the problems in a dataset's YAML: what was written, and what was meant."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final, get_args

import yaml
from pydantic import BaseModel, ValidationError

from chronotope.contracts.escaping import shown_text
from chronotope.contracts.strict_json import shown_key

_SHOWN_PROBLEMS: Final = 50
_SHOWN_KEYS: Final = 40
_NAME_PATTERN: Final = re.compile(r"[^a-z0-9]+")
_SIMILARITY: Final = 0.6

_SYNONYMS: Final = {
    "separator": "delimiter",
    "sep": "delimiter",
    "charset": "encoding",
    "codec": "encoding",
    "file": "path",
    "filename": "path",
    "filepath": "path",
    "mapping": "columns",
    "fields": "columns",
    "license": "licence",
    "filter": "keep",
    "filters": "keep",
    "where": "keep",
    "type": "format",
    "tz": "timezone",
    "zone": "timezone",
    "time_zone": "timezone",
    "na_values": "null_values",
    "quotechar": "quote",
    "skiprows": "skip_rows",
    "thousand": "thousands",
    ">": "gt",
    ">=": "ge",
    "<": "lt",
    "<=": "le",
    "=": "eq",
    "==": "eq",
    "!=": "ne",
}
"""Names of other tools, and the key of this schema with the same meaning."""

_OWN_ERROR: Final = "Value error, "
"""What pydantic puts before the message of a validator."""

_TRUTH_WORDS: Final = {True: "on, yes and true", False: "off, no and false"}

_TOKEN_HINTS: Final = (
    ("'\\t' that cannot start any token", "Indent with spaces: YAML allows no tabs there"),
    (
        "'%' that cannot start any token",
        'Put the text in double quotes, as in pattern: "%Y-%m-%d"',
    ),
    ("that cannot start any token", "Put the text that begins with this character in quotes"),
    (
        "unknown escape character",
        "In double quotes a backslash begins an escape: use single quotes, or two backslashes",
    ),
    (
        "mapping values are not allowed here",
        "Put a text that contains a colon and a blank in quotes, and indent the keys of one "
        "level equally",
    ),
    ("could not find expected ':'", "Write `key: value` lines, with a blank after the colon"),
    (
        "alphabetic or numeric character",
        'Put a text that begins with * or & in quotes, as in path: "*.csv"',
    ),
    ("undefined alias", 'Put a text that begins with * in quotes, as in path: "*.csv"'),
    ("expected <block end>", "Indent the keys of one level equally, with spaces"),
    ("expected ',' or", "Close the bracket, and put texts with commas or brackets in quotes"),
    ("unexpected end of stream", "Close the quotes or the bracket that begins before this place"),
    (
        "special characters are not allowed",
        "Save the file as UTF-8 text without control characters",
    ),
)
"""Part of a message of the YAML parser, and what to do about it."""


def parser_way_out(parser_problem: str) -> str:
    """What to do about a problem that the YAML parser reports."""
    return next(
        (hint_text for problem_part, hint_text in _TOKEN_HINTS if problem_part in parser_problem),
        "Correct the YAML file",
    )


def encoding_problem(yaml_bytes: bytes, error: UnicodeDecodeError) -> str:
    """Where a file is not UTF-8, and which encoding it may have."""
    line_number = yaml_bytes[: error.start].count(b"\n") + 1
    if yaml_bytes[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "it is UTF-16 text, not UTF-8"
    return f"line {line_number} has the byte 0x{yaml_bytes[error.start]:02x}, which is not UTF-8"


def explain_problems(error: ValidationError, root_model: type[BaseModel]) -> str:
    """All problems of a validation in one line, each with its field and its remedy.

    Args:
        error: Error of the validation.
        root_model: Model that was validated, whose keys are suggested.
    """
    problem_texts = [
        f"{_field_path(details['loc'])}: {_explanation(details, root_model)}"
        for details in error.errors(include_url=False)
    ]
    problem_texts = list(dict.fromkeys(problem_texts))
    n_hidden = len(problem_texts) - _SHOWN_PROBLEMS
    shown_problems = problem_texts[:_SHOWN_PROBLEMS] + (
        [f"and {n_hidden:,} more"] if n_hidden > 0 else []
    )
    return "; ".join(shown_problems)


def no_mapping_way_out(yaml_content: object) -> tuple[str, str]:
    """What a file holds instead of keys and values, and what to do."""
    if yaml_content is None:
        return "an empty file", "Write `key: value` lines, as in conf/datasets/example_csv.yaml"
    if isinstance(yaml_content, str):
        return "one text", "Write `key: value` lines, with a blank after each colon"
    if isinstance(yaml_content, list):
        return "a list", "Write `key: value` lines without a dash before them"
    return type(yaml_content).__name__, "Write `key: value` lines"


def _field_path(location: tuple[int | str, ...]) -> str:
    parts = (shown_key(part)[1:-1] if isinstance(part, str) else str(part) for part in location)
    return ".".join(part for part in parts if part != "[key]") or "file"


def _explanation(details: Mapping[str, Any], root_model: type[BaseModel]) -> str:
    location, received = details["loc"], details.get("input")
    message = str(details["msg"])
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(location, root_model)
        case "string_type":
            return _no_text(received)
        case "string_pattern_mismatch" if location == ("name",) and isinstance(received, str):
            return _bad_name(received)
        case "enum" if isinstance(received, str):
            choices = re.findall(r"'([^']+)'", message)
            return f"{message}; received {shown_key(received)}{_nearest(received, choices)}"
        case "literal_error" if isinstance(received, str):
            choices = re.findall(r"'([^']+)'", message)
            return f"{message}; received {shown_key(received)}{_nearest(received, choices)}"
        case "missing":
            return "this key is required"
        case _ if isinstance(received, int | float) and not isinstance(received, bool):
            return f"{message.removeprefix(_OWN_ERROR)}; received {received}"
    return message.removeprefix(_OWN_ERROR)


def _no_text(received: object) -> str:
    """Why YAML does not read a text, in particular the name of a column, as text."""
    if isinstance(received, bool):
        return (
            f"YAML reads {_TRUTH_WORDS[received]} without quotes as a truth value: "
            f'write the text in quotes, such as "{"on" if received else "off"}"'
        )
    if isinstance(received, int | float):
        return (
            f"YAML reads {received} as a number: write the text in quotes, such as "
            f'"{received}", if the column has this name in the file\'s header line'
        )
    if isinstance(received, date):
        return f'YAML reads {received} as a date: write the text in quotes, such as "{received}"'
    if received is None:
        return "nothing is written after the colon; write a text"
    return f"a text is required, not a {'list' if isinstance(received, list) else 'mapping'}"


def _bad_name(name: str) -> str:
    """A name that is not valid, with the nearest valid one."""
    return (
        "a name has lower-case letters, digits and underscores and begins with a letter; "
        f"received {shown_key(name)}, write {valid_name(name)}"
    )


def valid_name(name: str) -> str:
    """The valid name of a dataset that is nearest to a text.

    Example:
        >>> valid_name("my-Shop"), valid_name("2024")
        ('my_shop', 'log_2024')
    """
    plain_name = _NAME_PATTERN.sub("_", name.lower()).strip("_")[:_SHOWN_KEYS] or "log"
    return plain_name if plain_name[0].isalpha() else f"log_{plain_name}"


def _unknown_key(location: tuple[int | str, ...], root_model: type[BaseModel]) -> str:
    key_name = str(location[-1])
    known_keys = _keys_at(location[:-1], root_model)
    suggestion = _nearest(key_name, known_keys)
    if suggestion:
        return f"no such key{suggestion}"
    elsewhere = [
        ".".join(section)
        for section in _sections(root_model)
        if _meant_key(key_name, _keys_at(section, root_model), exact=True)
    ]
    if elsewhere:
        return f"no such key here; it belongs under {' or '.join(map(_section_name, elsewhere))}"
    return f"no such key; the keys are {', '.join(known_keys[:_SHOWN_KEYS])}"


def _section_name(section: str) -> str:
    return section or "the top level"


def _nearest(word: str, choices: Sequence[str]) -> str:
    nearest = _meant_key(word, choices, exact=False)
    return f"; did you mean `{nearest}`" if nearest else ""


def _meant_key(word: str, choices: Sequence[str], *, exact: bool) -> str | None:
    """The choice that a word is or stands for; unless ``exact``, one that is spelled alike."""
    candidates = {choice: choice for choice in choices} | {
        synonym: choice for synonym, choice in _SYNONYMS.items() if choice in choices
    }
    lower_word = word.lower()
    if lower_word in candidates:
        return candidates[lower_word]
    alike = [] if exact else difflib.get_close_matches(lower_word, candidates, 1, _SIMILARITY)
    return candidates[alike[0]] if alike else None


def _sections(root_model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Locations of the mappings whose keys a user may confuse."""
    yield ()
    for field_name in root_model.model_fields:
        if _keys_at((field_name,), root_model):
            yield (field_name,)


def _keys_at(location: Sequence[int | str], root_model: type[BaseModel]) -> list[str]:
    """Keys of the model at a location, such as ``("events",)``; none if there is no model."""
    model: type[BaseModel] | None = root_model
    for part in location:
        if model is None:
            return []
        field = model.model_fields.get(str(part))
        if field is not None:
            model = _model_in(field.annotation)
    if model is None:
        return []
    return [field.alias or field_name for field_name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation such as ``TableSpec | None`` or ``dict[str, RowFilter]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in models if model is not None), None)


def marked_problem(yaml_error: yaml.YAMLError) -> str:
    """Problem and position of a YAML error, without the text, which may contain a password."""
    if not isinstance(yaml_error, yaml.MarkedYAMLError) or yaml_error.problem_mark is None:
        return shown_text(type(yaml_error).__name__)
    problem_mark = yaml_error.problem_mark
    return f"{yaml_error.problem}, line {problem_mark.line + 1}, column {problem_mark.column + 1}"
