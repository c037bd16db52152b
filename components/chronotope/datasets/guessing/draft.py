"""Draft of a dataset's YAML for a log file, with what is not sure as comments in it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError, SourceError
from chronotope.contracts.escaping import visible_text
from chronotope.datasets.guessing.column_roles import ColumnRoles, assign_roles
from chronotope.datasets.guessing.encodings import ZONES_BY_ENCODING
from chronotope.datasets.guessing.samples import LogSample, read_sample
from chronotope.datasets.guessing.time_values import TimeGuess
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.table_spec import Format, TableSpec
from chronotope.datasets.time_spec import TimeKind, TimeSpec
from chronotope.datasets.yaml_problems import explain_problems

_PLAIN_SCALAR: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_./-]*$")
_ORIGIN_PLACEHOLDER: Final = "2000-01-01"


@dataclass(frozen=True, slots=True)
class DatasetDraft:
    """Draft of a dataset's YAML.

    Attributes:
        text: Content of the YAML file.
        spec: The same, validated.
        doubts: What is not sure, one sentence each.
    """

    text: str
    spec: DatasetSpec
    doubts: tuple[str, ...]


def draft_dataset(dataset_name: str, log_path: Path) -> DatasetDraft:
    """Draft the YAML of a dataset from the first rows of its log.

    Args:
        dataset_name: Name of the dataset.
        log_path: File of the log, or folder of files.

    Raises:
        SourceError: The file is missing, empty or no log, or no columns can be user, item and
            time.
        ConfigError: The name is not valid.
    """
    sample = read_sample(log_path)
    roles = assign_roles(sample)
    if not sample.columns or not {c.USER_ID, c.ITEM_ID} <= set(roles.columns) or roles.time is None:
        raise SourceError(
            "No columns can be the user, the item and the time of an event",
            received=f"{', '.join(sample.columns) or 'no columns'} ({'; '.join(roles.doubts)})",
            way_out="Write the YAML by hand, as in conf/datasets/example_csv.yaml",
        )
    doubts = [*sample.doubts, *roles.doubts]
    lines = [
        f"name: {dataset_name}",
        f"description: {_scalar(f'Log in {log_path.name}, drafted by chronotope init')}",
        "licence: unknown",
        f"data_dir: {_scalar(str(log_path.parent))}",
        *_time_lines(roles.time, sample, doubts),
        *(["items_are_places: true"] if roles.items_are_places else []),
        "events:",
        *(f"  {line}" for line in _table_lines(sample, roles, log_path, doubts)),
    ]
    text = "\n".join([*(f"# not sure: {_comment(doubt)}" for doubt in doubts), *lines]) + "\n"
    return DatasetDraft(text, _validated(text), tuple(doubts))


def _validated(text: str) -> DatasetSpec:
    try:
        return DatasetSpec.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        raise ConfigError(
            "The draft is not valid",
            received=explain_problems(error, DatasetSpec),
            way_out="Choose a name of lower-case letters, digits and underscores; otherwise write "
            "the YAML by hand",
        ) from error


def _time_lines(time_guess: TimeGuess, sample: LogSample, doubts: list[str]) -> list[str]:
    """Keys ``time`` and ``local_zone``."""
    settings: dict[str, Any] = {}
    kind = time_guess.kind
    if kind not in set(TimeKind):
        doubts.append(f"time: this version cannot read times of kind {kind}")
        kind = TimeKind.TIMESTAMP
    if kind != TimeKind.TIMESTAMP:
        settings["kind"] = str(kind)
    if time_guess.patterns:
        settings["pattern"] = _known_patterns(time_guess.patterns, doubts)
    if kind == "days":
        settings["origin"] = _ORIGIN_PLACEHOLDER
    zone_name = None
    if not time_guess.has_zone:
        encoding_name = sample.encoding.name if sample.encoding else ""
        zone_name = ZONES_BY_ENCODING.get(encoding_name)
        settings["timezone"] = zone_name or "UTC"
        doubts.append(
            f"time.timezone: the times carry no zone; {settings['timezone']} is a guess. Set the "
            "zone of the clocks that wrote them, such as Europe/Vienna"
        )
    time_items = ", ".join(f"{key}: {_value(value)}" for key, value in settings.items())
    lines = [f"time: {{{time_items}}}"] if settings else []
    return [*lines, *([f"local_zone: {zone_name}"] if zone_name else [])]


def _known_patterns(patterns: tuple[str, ...], doubts: list[str]) -> str | list[str]:
    """The patterns in the form that the schema of times accepts."""
    if len(patterns) == 1:
        return patterns[0]
    try:
        TimeSpec.model_validate({"kind": "strptime", "pattern": list(patterns)})
    except ValidationError:
        doubts.append("time.pattern: this version reads one pattern; rows of others are refused")
        return next(pattern for pattern in patterns if "%" in pattern)
    return list(patterns)


def _table_lines(
    sample: LogSample, roles: ColumnRoles, log_path: Path, doubts: list[str]
) -> list[str]:
    """Keys of ``events``."""
    if sample.format not in set(Format):
        doubts.append(f"format: this version cannot read {sample.format}")
        table_format = "csv"
    else:
        table_format = sample.format
    lines = [f"format: {table_format}", f"path: {_scalar(log_path.name)}"]
    options: dict[str, Any] = {}
    if sample.encoding is not None and sample.encoding.name != "utf-8":
        options["encoding"] = sample.encoding.name
    renamed: dict[str, str] = {}
    if sample.dialect is not None:
        renamed = _dialect_options(sample, roles, options)
    if roles.decimal_comma:
        options["decimal"] = ","
    lines += _option_lines(options, doubts)
    mapping = {role: renamed.get(name, name) for role, name in roles.columns.items()}
    column_items = ", ".join(f"{role}: {_scalar(name)}" for role, name in mapping.items())
    lines.append(f"columns: {{{column_items}}}")
    if roles.joined_time is not None:
        joined = ", ".join(_scalar(renamed.get(name, name)) for name in roles.joined_time)
        lines.append(f"join: {{{c.OCCURRED_AT}: [{joined}]}}")
    return lines


def _option_lines(options: dict[str, Any], doubts: list[str]) -> list[str]:
    """The settings that the schema knows; the others become doubts."""
    doubts += [
        f"{option_name}: this version has no such setting; {_value(value)} is meant"
        for option_name, value in options.items()
        if option_name not in TableSpec.model_fields
    ]
    return [
        f"{option_name}: {_value(value)}"
        for option_name, value in options.items()
        if option_name in TableSpec.model_fields
    ]


def _dialect_options(
    sample: LogSample, roles: ColumnRoles, options: dict[str, Any]
) -> dict[str, str]:
    """Add the options of the dialect; returns new names for the columns of a headerless file."""
    dialect = sample.dialect
    if dialect is None:
        return {}
    if dialect.delimiter != ",":
        options["delimiter"] = "whitespace" if dialect.delimiter == " " else dialect.delimiter
    if dialect.quote is None:
        options["quote"] = None
    if dialect.escape is not None:
        options["escape"] = dialect.escape
    if dialect.skip_rows:
        options["skip_rows"] = dialect.skip_rows
    if dialect.has_header:
        return {}
    role_names = {name: role for role, name in roles.columns.items()}
    renamed = {name: role_names.get(name, f"column_{name}") for name in dialect.names}
    options["header"] = False
    options["names"] = [renamed[name] for name in dialect.names]
    return renamed


def _value(value: object) -> str:
    """A value of the YAML in flow style."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return _scalar(str(value))


def _scalar(text: str) -> str:
    """A text that YAML reads as this text: in double quotes unless it is a plain word."""
    is_plain = bool(_PLAIN_SCALAR.match(text)) and yaml.safe_load(text) == text
    return text if is_plain else json.dumps(text, ensure_ascii=not text.isprintable())


def _comment(doubt: str) -> str:
    return visible_text(" ".join(doubt.split()))
