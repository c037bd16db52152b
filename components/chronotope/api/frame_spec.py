"""Dataset specification of a frame: the YAML that the same log would have as a source."""

from typing import Any, Final

import pyarrow as pa
from pydantic import ValidationError

from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError, SchemaError
from chronotope.datasets.guessing.time_values import guess_times
from chronotope.datasets.parsing import is_textual
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.time_spec import TimeSpec
from chronotope.datasets.yaml_problems import explain_problems

FRAME: Final = "frame"
"""Name of the dataset of a frame that was not given another."""

_SAMPLE_ROWS: Final = 2_000
_KINDS: Final = ("epoch_s", "epoch_ms", "epoch_us", "epoch_ns")


def frame_spec(
    columns: dict[str, str],
    time_spec: TimeSpec,
    *,
    name: str = FRAME,
    zone_name: str | None = None,
    context: tuple[str, ...] = (),
    items_are_places: bool = False,
) -> DatasetSpec:
    """Specification of a dataset whose events have contract column names.

    Args:
        columns: Contract column to column of the frame, those of the context left out.
        time_spec: Encoding of the time column.
        name: Name of the dataset.
        zone_name: Time zone of the users; None if it is unknown.
        context: Names of context columns.
        items_are_places: Whether the item is the place.

    Raises:
        ConfigError: The name or the zone is invalid.
    """
    content = {
        "name": name,
        "time": time_spec,
        "local_zone": zone_name,
        "items_are_places": items_are_places,
        "known_before": context,
        "events": {
            "format": "parquet",
            "path": "events.parquet",
            "columns": columns,
            "context": {context_name: context_name for context_name in context},
        },
    }
    try:
        return DatasetSpec.model_validate(content)
    except ValidationError as error:
        problems = explain_problems(error, DatasetSpec)
        raise ConfigError(f"The log cannot be described: {problems}", received=columns) from error


def frame_time(
    column: pa.ChunkedArray, name: str, *, time_format: str | None, time_zone: str | None
) -> TimeSpec:
    """Encoding of a frame's time column.

    Args:
        column: The column.
        name: Its name in the frame, for messages.
        time_format: ``epoch_s``, ``epoch_ms``, ``epoch_us``, ``epoch_ns`` or a strptime pattern;
            None tells it from the type and the values.
        time_zone: Zone of times without an offset; None reads them as UTC.

    Raises:
        SchemaError: The column holds no times, or times of several kinds.
    """
    options: dict[str, Any] = {"timezone": time_zone or "UTC"}
    if time_format in _KINDS:
        return TimeSpec(kind=time_format, **options)
    if time_format is not None:
        return TimeSpec(kind="strptime", pattern=time_format, **options)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return TimeSpec(**options)
    texts = _sample_texts(column)
    guess = guess_times(texts, is_named_time=False)
    if guess is None or guess.kind not in (*_KINDS, "timestamp", "strptime"):
        raise SchemaError(
            f"Column {name!r} does not hold times",
            received=f"{column.type}, such as {', '.join(map(repr, texts[:3])) or 'no value'}",
            way_out="Pass time_format, such as 'epoch_s' or '%d.%m.%Y %H:%M', or convert the "
            f"column with pandas.to_datetime(df[{name!r}])",
        )
    is_mixed = "several units" in " ".join(guess.doubts) or (
        "carry an offset" in " ".join(guess.doubts) and time_zone is None
    )
    if is_mixed:
        raise SchemaError(
            f"Column {name!r} mixes times of several kinds",
            received=guess.doubts[0].removeprefix("time: "),
            way_out="Pass time_zone for the times without an offset, or convert the column with "
            f"pandas.to_datetime(df[{name!r}], utc=True)",
        )
    pattern = guess.patterns or None
    return TimeSpec(kind=guess.kind, pattern=pattern, **options)


def zone_of(column: pa.ChunkedArray, time_zone: str | None) -> str | None:
    """Time zone of the users: the given one, or that of a column of zoned timestamps."""
    if time_zone is None and pa.types.is_timestamp(column.type) and column.type.tz != "UTC":
        return str(column.type.tz) if column.type.tz else None
    return time_zone


def _sample_texts(column: pa.ChunkedArray) -> list[str | None]:
    """Texts of the first values of a column of texts or numbers; none of another type."""
    is_readable = is_textual(column.type) or pa.types.is_integer(column.type)
    if not is_readable and not pa.types.is_floating(column.type):
        return []
    values = column.slice(0, _SAMPLE_ROWS).drop_null().to_pylist()
    return [f"{value:.0f}" if isinstance(value, float) else str(value) for value in values]


ID_COLUMNS: Final = (c.USER_ID, c.ITEM_ID, c.PLACE_ID)
"""Columns whose ids go back to the frame's type."""


def restored_ids(texts: list[str], id_type: pa.DataType | None) -> list[Any]:
    """Ids in the type that the frame has: whole numbers for a column of integers, else texts.

    Args:
        texts: Ids as the lake stores them.
        id_type: Type of the column; None if it is unknown.
    """
    if id_type is None or not pa.types.is_integer(id_type):
        return list(texts)
    return [int(text) for text in texts]
