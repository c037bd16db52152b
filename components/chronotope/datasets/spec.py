"""Schema of a dataset's YAML: sources, column mapping and time format."""

from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from chronotope.contracts import columns as c
from chronotope.contracts.schemas import EVENTS, ITEMS, USERS
from chronotope.datasets.city import IS_ANOMALY, CityConfig
from chronotope.runtime.store_urls import mask_password
from chronotope.spacetime.clock import zone


class Format(StrEnum):
    """Storage format of a source."""

    CSV = "csv"
    PARQUET = "parquet"
    SQL = "sql"


class TimeKind(StrEnum):
    """Encoding of the time column."""

    TIMESTAMP = "timestamp"
    """A timestamp or date column, or ISO 8601 text, with or without an offset."""
    EPOCH_S = "epoch_s"
    EPOCH_MS = "epoch_ms"
    STRPTIME = "strptime"


class FrozenModel(BaseModel):
    """Immutable pydantic model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeSpec(FrozenModel):
    """Conversion of the time column to UTC instants."""

    kind: TimeKind = Field(
        default=TimeKind.TIMESTAMP,
        description="Time encoding: timestamp, epoch_s, epoch_ms or strptime",
    )
    timezone: str = Field(default="UTC", description="IANA time zone of times without an offset")
    pattern: str | None = Field(
        default=None,
        description="strptime pattern, such as %d.%m.%Y %H:%M; required by kind strptime",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        zone(self.timezone)
        if (self.kind is TimeKind.STRPTIME) != (self.pattern is not None):
            raise ValueError(
                "time.pattern is required by time.kind strptime and refused with any other kind"
            )
        return self


class SourceLimits(FrozenModel):
    """Limits on the time and the size of a source."""

    timeout_s: float = Field(
        default=30.0,
        gt=0,
        le=3_600,
        description="Seconds without an answer of a server, or until a database connects",
    )
    total_timeout_s: float = Field(
        default=3_600.0,
        gt=0,
        le=86_400,
        description="Seconds of a complete download, or until a database returns its next rows",
    )
    max_bytes: int = Field(
        default=64 << 30,
        ge=1,
        description="Maximum bytes of a download, and of a file after decompression",
    )


class TableSpec(FrozenModel):
    """Source of one table and its column mapping."""

    format: Format = Field(description="Storage format: csv, parquet or sql")
    path: str | None = Field(
        default=None,
        description="File or folder below data_dir, with $VARIABLES expanded; or http(s) URL",
    )
    package: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Installed top-level Python package that contains the file at path",
    )
    url: str | None = Field(
        default=None,
        description="SQLAlchemy URL of the database (format sql); a $VARIABLE may be all of it, "
        "the user, the password, or part of the path of an SQLite file",
    )
    query: str | None = Field(
        default=None, description="SELECT statement that returns the rows (format sql)"
    )
    encoding: str = Field(default="utf-8", description="Text encoding of a CSV file")
    delimiter: str = Field(
        default=",",
        min_length=1,
        max_length=1,
        description="Column separator of a CSV file, one character",
    )
    columns: dict[str, str] = Field(description="Contract column to source column")
    coalesce: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Column to source columns; the first value that is not null is used",
    )
    join: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Column to source columns, whose texts are joined with a comma",
    )
    context: dict[str, str] = Field(
        default_factory=dict, description="Numeric context column to source column"
    )
    attributes: dict[str, str] = Field(
        default_factory=dict, description="Additional text column to source column"
    )
    # Excluded: the identity of a source must not depend on its time-outs.
    limits: SourceLimits = Field(
        default=SourceLimits(), exclude=True, description="Limits on time and size"
    )

    @model_validator(mode="after")
    def _located(self) -> Self:
        is_sql = self.format is Format.SQL
        if is_sql and (self.url is None or self.query is None):
            raise ValueError("format sql needs url and query")
        if not is_sql and self.path is None:
            raise ValueError(f"format {self.format} needs path")
        return self

    @property
    def sources(self) -> dict[str, str]:
        """Contract column to source column, for columns copied from one source column."""
        return self.columns | self.context | self.attributes

    @property
    def needed(self) -> tuple[str, ...]:
        """Source columns to read, without duplicates."""
        combined_columns = [
            column_name
            for source_lists in (self.coalesce, self.join)
            for source_columns in source_lists.values()
            for column_name in source_columns
        ]
        return tuple(dict.fromkeys([*self.sources.values(), *combined_columns]))


class ContextTableSpec(TableSpec):
    """Context table: readings such as weather, joined as of the time of each event."""

    valid_h: float = Field(default=24.0, gt=0.0, description="Hours for which a reading is valid")

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        if set(self.columns) - {c.PLACE_ID} != {c.OCCURRED_AT}:
            raise ValueError("columns must map occurred_at, may map place_id, and no other column")
        if not self.context or self.attributes or self.coalesce or self.join:
            raise ValueError(
                "readings are numbers: list them under context, without attributes, coalesce, join"
            )
        return self


class FeedSpec(TableSpec):
    """SQL table of new interactions, read incrementally from a cursor column."""

    format: Format = Field(
        default=Format.SQL, description="Always sql: only a database can be read incrementally"
    )
    after: str = Field(
        min_length=1,
        description="Cursor: increasing source column without nulls, such as an id",
    )
    reread_rows: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="Newest rows read again, in case a transaction committed late",
    )
    block: str | None = Field(
        default=None, description="Prefect Secret block that holds the database URL, instead of url"
    )
    time: TimeSpec = Field(default=TimeSpec(), description="Time format of the table")

    @model_validator(mode="after")
    def _located(self) -> Self:
        if self.format is not Format.SQL or self.query is None:
            raise ValueError("format must be sql, and query is required")
        if (self.url is None) == (self.block is None):
            raise ValueError("exactly one of url and block is required")
        if self.url is not None and mask_password(self.url) != self.url:
            raise ValueError("url contains a password: use a $VARIABLE or a Prefect Secret block")
        return self

    @property
    def needed(self) -> tuple[str, ...]:
        """Source columns to read, without duplicates; the cursor is the last."""
        other_columns = [column_name for column_name in super().needed if column_name != self.after]
        return (*other_columns, self.after)


class DatasetSpec(FrozenModel):
    """Dataset configuration, the content of conf/datasets/NAME.yaml."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Unique name of the dataset; lower case, digits and underscores",
    )
    description: str = Field(description="Description of the log in one or two sentences")
    licence: str = Field(description="Licence of the data")
    data_dir: Path = Field(
        default=Path(), description="Folder of the source files, relative to the project root"
    )
    events: TableSpec | None = Field(default=None, description="Event log")
    city: CityConfig | None = Field(
        default=None,
        description="Simulated city that generates log and catalogue, instead of events",
    )
    items: TableSpec | None = Field(default=None, description="Item catalogue, optional")
    users: TableSpec | None = Field(default=None, description="User attributes, optional")
    feedback: FeedSpec | None = Field(
        default=None,
        description="SQL table of new interactions, besides the interaction log and the inbox",
    )
    context_table: ContextTableSpec | None = Field(
        default=None,
        description="Readings by time and optionally by place, such as weather or promotions",
    )
    known_before: tuple[str, ...] = Field(
        default=(),
        description="Context columns that are known before the choice, so models may use them",
    )
    time: TimeSpec = Field(
        default=TimeSpec(), description="Time format of the event log and the context table"
    )
    local_zone: str | None = Field(
        default=None,
        description="IANA time zone of the users when no column holds utc_offset_min",
    )
    event_type: str = Field(
        default="event", min_length=1, description="Event type where no column holds one"
    )
    cell_resolution: int | None = Field(
        default=None,
        ge=0,
        le=15,
        description="H3 resolution for events without place_id: 8 is 0.5 km, 15 is 0.5 m",
    )
    items_are_places: bool = Field(
        default=False, description="Whether the item is the place, as in check-ins"
    )
    identity: tuple[str, ...] = Field(
        default=(c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.OCCURRED_AT, c.PLACE_ID, c.SESSION_ID),
        min_length=1,
        description="Columns that identify an event; rows with equal values are one event",
    )

    @field_validator("local_zone")
    @classmethod
    def _known_zone(cls, zone_name: str | None) -> str | None:
        if zone_name is not None:
            zone(zone_name)
        return zone_name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [
            *_table_problems("events", self.events, EVENTS.names, _NEEDED_EVENTS),
            *_table_problems("items", self.items, ITEMS.names, (c.ITEM_ID,)),
            *_table_problems("users", self.users, USERS.names, (c.USER_ID,)),
            *_table_problems("feedback", self.feedback, EVENTS.names, _NEEDED_EVENTS),
        ]
        if (self.events is None) == (self.city is None):
            problems.append("exactly one of events and city is required")
        known_columns = [*EVENTS.names, *self.context_columns, *self.attribute_columns]
        stray_columns = [
            column_name
            for column_name in self.identity
            if column_name not in known_columns or column_name == c.EVENT_ID
        ]
        problems += [
            f"identity: {column_name!r} is no column of the events" for column_name in stray_columns
        ]
        context_names = [] if self.events is None else list(self.events.context)
        problems += [
            f"known_before: {column_name!r} is no context column of the events"
            for column_name in self.known_before
            if column_name not in context_names
        ]
        feedback_columns = (
            [*self.feedback.context, *self.feedback.attributes] if self.feedback else []
        )
        problems += [
            f"feedback: the events have no {column_name!r}"
            for column_name in feedback_columns
            if column_name not in known_columns
        ]
        known_columns += list(self.items.attributes) if self.items else []
        problems += [
            f"context_table: {column_name!r} is the name of another column"
            for column_name in self.context_table_columns
            if column_name in known_columns
        ]
        if self.events and c.UTC_OFFSET_MIN in self.events.columns and self.local_zone:
            problems.append("events.columns.utc_offset_min and local_zone exclude each other")
        if self.cell_resolution is not None and self.items_are_places:
            problems.append("cell_resolution and items_are_places exclude each other")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def context_columns(self) -> tuple[str, ...]:
        """Names of the numeric context columns of the events."""
        return (IS_ANOMALY,) if self.events is None else tuple(self.events.context)

    @property
    def context_table_columns(self) -> tuple[str, ...]:
        """Names of the columns joined from the context table."""
        return () if self.context_table is None else tuple(self.context_table.context)

    @property
    def attribute_columns(self) -> tuple[str, ...]:
        """Names of the further text columns of the events."""
        return () if self.events is None else tuple(self.events.attributes)


_NEEDED_EVENTS = (c.USER_ID, c.ITEM_ID, c.OCCURRED_AT)


def _table_problems(
    table_label: str,
    table_spec: TableSpec | None,
    contract_columns: list[str],
    required_columns: tuple[str, ...],
) -> list[str]:
    if table_spec is None:
        return []
    mapped_columns = [*table_spec.columns, *table_spec.coalesce, *table_spec.join]
    extra_columns = [*table_spec.context, *table_spec.attributes]
    problems = [
        f"{table_label}: column {column_name!r} must be mapped"
        for column_name in required_columns
        if column_name not in mapped_columns
    ]
    problems += [
        f"{table_label}: {column_name!r} is no contract column; list it under context or attributes"
        for column_name in mapped_columns
        if column_name not in contract_columns or column_name == c.EVENT_ID
    ]
    problems += [
        f"{table_label}: {column_name!r} is a contract column"
        for column_name in extra_columns
        if column_name in contract_columns
    ]
    repeated_columns = {
        column_name
        for column_name in [*mapped_columns, *extra_columns]
        if [*mapped_columns, *extra_columns].count(column_name) > 1
    }
    return problems + [
        f"{table_label}: {column_name!r} is mapped twice"
        for column_name in sorted(repeated_columns)
    ]
