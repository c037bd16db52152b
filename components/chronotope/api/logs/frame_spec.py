"""Dataset specification of a frame: the YAML that the same log would have as a source."""

from collections.abc import Sequence
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

_EVENT_COLUMNS: Final = (
    c.USER_ID,
    c.ITEM_ID,
    c.OCCURRED_AT,
    c.PLACE_ID,
    c.LAT,
    c.LON,
    c.VALUE,
    c.SESSION_ID,
    c.EVENT_TYPE,
)
_NEEDED: Final = (c.USER_ID, c.ITEM_ID, c.OCCURRED_AT)

_SAMPLE_ROWS: Final = 2_000
_KINDS: Final = ("epoch_s", "epoch_ms", "epoch_us", "epoch_ns")


def frame_spec(
    column_map: dict[str, str],
    time_spec: TimeSpec,
    *,
    column_name: str = FRAME,
    zone_name: str | None = None,
    context_columns: tuple[str, ...] = (),
    items_are_places: bool = False,
) -> DatasetSpec:
    """Specification of a dataset whose events have contract column names.

    Args:
        column_map: Contract column to column of the frame, those of the context left out.
        time_spec: Encoding of the time column.
        column_name: Name of the dataset.
        zone_name: Time zone of the users; None if it is unknown.
        context_columns: Names of context columns.
        items_are_places: Whether the item is the place.

    Raises:
        ConfigError: The name or the zone is invalid.
    """
    spec_content = {
        "name": column_name,
        "time": time_spec,
        "local_zone": zone_name,
        "items_are_places": items_are_places,
        "known_before": context_columns,
        "events": {
            "format": "parquet",
            "path": "events.parquet",
            "columns": column_map,
            "context": {context_name: context_name for context_name in context_columns},
        },
    }
    try:
        return DatasetSpec.model_validate(spec_content)
    except ValidationError as error:
        spec_problems = explain_problems(error, DatasetSpec)
        raise ConfigError(
            f"The log cannot be described: {spec_problems}", received=column_map
        ) from error


def frame_time(
    time_column: pa.ChunkedArray,
    column_name: str,
    *,
    time_format: str | None,
    time_zone: str | None,
) -> TimeSpec:
    """Encoding of a frame's time column.

    Args:
        time_column: The column.
        column_name: Its name in the frame, for messages.
        time_format: ``epoch_s``, ``epoch_ms``, ``epoch_us``, ``epoch_ns`` or a strptime pattern;
            None tells it from the type and the values.
        time_zone: Zone of times without an offset; None reads them as UTC.

    Raises:
        SchemaError: The column holds no times, or times of several kinds.
    """
    time_options: dict[str, Any] = {"timezone": time_zone or "UTC"}
    if time_format in _KINDS:
        return TimeSpec(kind=time_format, **time_options)
    if time_format is not None:
        return TimeSpec(kind="strptime", pattern=time_format, **time_options)
    if pa.types.is_timestamp(time_column.type) or pa.types.is_date(time_column.type):
        return TimeSpec(**time_options)
    sample_texts = _sample_texts(time_column)
    time_guess = guess_times(sample_texts, is_named_time=False)
    if time_guess is None or time_guess.kind not in (*_KINDS, "timestamp", "strptime"):
        shown_values = ", ".join(map(repr, sample_texts[:3]))
        raise SchemaError(
            f"Column {column_name!r} does not hold times",
            received=f"{time_column.type}, such as {shown_values or 'no value'}",
            way_out="Pass time_format, such as 'epoch_s' or '%d.%m.%Y %H:%M', or convert the "
            f"column with pandas.to_datetime(df[{column_name!r}])",
        )
    is_mixed = "several units" in " ".join(time_guess.doubts) or (
        "carry an offset" in " ".join(time_guess.doubts) and time_zone is None
    )
    if is_mixed:
        raise SchemaError(
            f"Column {column_name!r} mixes times of several kinds",
            received=time_guess.doubts[0].removeprefix("time: "),
            way_out="Pass time_zone for the times without an offset, or convert the column with "
            f"pandas.to_datetime(df[{column_name!r}], utc=True)",
        )
    time_pattern = time_guess.patterns or None
    return TimeSpec(kind=time_guess.kind, pattern=time_pattern, **time_options)


def zone_of(time_column: pa.ChunkedArray, time_zone: str | None) -> str | None:
    """Time zone of the users: the given one, or that of a column of zoned timestamps."""
    if (
        time_zone is None
        and pa.types.is_timestamp(time_column.type)
        and time_column.type.tz != "UTC"
    ):
        return str(time_column.type.tz) if time_column.type.tz else None
    return time_zone


def _sample_texts(time_column: pa.ChunkedArray) -> list[str | None]:
    """Texts of the first values of a column of texts or numbers; none of another type."""
    is_readable = is_textual(time_column.type) or pa.types.is_integer(time_column.type)
    if not is_readable and not pa.types.is_floating(time_column.type):
        return []
    sample_values = time_column.slice(0, _SAMPLE_ROWS).drop_null().to_pylist()
    return [
        f"{cell_value:.0f}" if isinstance(cell_value, float) else str(cell_value)
        for cell_value in sample_values
    ]


ID_COLUMNS: Final = (c.USER_ID, c.ITEM_ID, c.PLACE_ID)
"""Columns whose ids go back to the frame's type."""


def restored_ids(sample_texts: list[str], id_type: pa.DataType | None) -> list[Any]:
    """Ids in the type that the frame has: whole numbers for a column of integers, else texts.

    Args:
        sample_texts: Ids as the lake stores them.
        id_type: Type of the column; None if it is unknown.
    """
    if id_type is None or not pa.types.is_integer(id_type):
        return list(sample_texts)
    return [int(text) for text in sample_texts]


def named_columns(frame_columns: Sequence[str | None]) -> dict[str, str]:
    """Column of the frame of each contract column; an optional one that has none is left out.

    Args:
        frame_columns: Columns in the order user, item, time, place, lat, lon, value, session,
            event type.
    """
    pairs = zip(_EVENT_COLUMNS, frame_columns, strict=True)
    column_map: dict[str, Any] = dict(pairs)
    return {n: v for n, v in column_map.items() if v is not None or n in _NEEDED}
