"""What a dataset's YAML says: where rows are, how columns map, how times read."""

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
    """How rows are stored."""

    CSV = "csv"
    PARQUET = "parquet"
    SQL = "sql"


class TimeKind(StrEnum):
    """How the time column reads."""

    TIMESTAMP = "timestamp"
    """A timestamp or date column, or ISO 8601 text, with or without an offset."""
    EPOCH_S = "epoch_s"
    EPOCH_MS = "epoch_ms"
    STRPTIME = "strptime"


class FrozenModel(BaseModel):
    """Base of the models here: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeSpec(FrozenModel):
    """How to turn the time column into UTC instants."""

    kind: TimeKind = Field(default=TimeKind.TIMESTAMP, description="How the time column reads")
    timezone: str = Field(default="UTC", description="IANA zone of times that carry no offset")
    pattern: str | None = Field(
        default=None, description="strptime pattern; needed by kind strptime"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        zone(self.timezone)
        if (self.kind is TimeKind.STRPTIME) != (self.pattern is not None):
            raise ValueError("time.pattern goes with time.kind strptime, and only with it")
        return self


class SourceLimits(FrozenModel):
    """What a source may take, so that none is waited for without end."""

    timeout_s: float = Field(
        default=30.0,
        gt=0,
        le=3_600,
        description="Seconds that a server may keep silent, or a database until it is connected",
    )
    total_timeout_s: float = Field(
        default=3_600.0,
        gt=0,
        le=86_400,
        description="Seconds of a whole download, or until a database gives its next rows",
    )
    max_bytes: int = Field(
        default=64 << 30,
        ge=1,
        description="Most bytes of a download, and of what the file decompresses to",
    )


class TableSpec(FrozenModel):
    """One table of a dataset and how its columns map onto the contract."""

    format: Format = Field(description="csv, parquet or sql")
    path: str | None = Field(
        default=None,
        description="File or folder below data_dir, where $VARIABLES expand; or http(s) address",
    )
    package: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Installed top-level Python package that ships the file; path is inside it",
    )
    url: str | None = Field(
        default=None,
        description="SQLAlchemy URL of the database (format sql); a $VARIABLE may be all of it, "
        "the user, the password, or part of the path of an SQLite file",
    )
    query: str | None = Field(default=None, description="SELECT statement (format sql)")
    encoding: str = Field(default="utf-8", description="Text encoding of a CSV file")
    delimiter: str = Field(
        default=",", min_length=1, max_length=1, description="CSV column separator"
    )
    columns: dict[str, str] = Field(description="Contract column: source column")
    coalesce: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Column: source columns, the first that is known wins"
    )
    join: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Column: source columns whose texts are joined"
    )
    context: dict[str, str] = Field(
        default_factory=dict, description="Numeric context column: source column"
    )
    attributes: dict[str, str] = Field(
        default_factory=dict, description="Further text column: source column"
    )
    # Not part of what a source is: another time-out must not make another delivery of it.
    limits: SourceLimits = Field(
        default=SourceLimits(), exclude=True, description="Time-outs and sizes"
    )

    @model_validator(mode="after")
    def _located(self) -> Self:
        sql = self.format is Format.SQL
        if sql and (self.url is None or self.query is None):
            raise ValueError("format sql needs url and query")
        if not sql and self.path is None:
            raise ValueError(f"format {self.format} needs path")
        return self

    @property
    def sources(self) -> dict[str, str]:
        """Contract column to source column, for columns copied from one source column."""
        return self.columns | self.context | self.attributes

    @property
    def needed(self) -> tuple[str, ...]:
        """Source columns to read, each once."""
        combined = [
            name for many in (self.coalesce, self.join) for v in many.values() for name in v
        ]
        return tuple(dict.fromkeys([*self.sources.values(), *combined]))


class ContextTableSpec(TableSpec):
    """Readings of what surrounds events, joined as of each event's moment."""

    valid_h: float = Field(
        default=24.0, gt=0.0, description="Hours after which a reading no longer counts"
    )

    @model_validator(mode="after")
    def _reads_something(self) -> Self:
        if set(self.columns) - {c.PLACE_ID} != {c.OCCURRED_AT}:
            raise ValueError("columns must map occurred_at, may map place_id, and nothing else")
        if not self.context or self.attributes or self.coalesce or self.join:
            raise ValueError("readings are numbers: list them under context, and nothing else")
        return self


class FeedSpec(TableSpec):
    """A table that interactions are appended to, read on from where the last run stopped."""

    format: Format = Field(default=Format.SQL, description="sql: nothing else can be read on")
    after: str = Field(
        min_length=1,
        description="Source column that only grows and is never null: an id, or when the row came",
    )
    reread_rows: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="Newest rows looked at again, for a transaction that committed late",
    )
    block: str | None = Field(
        default=None, description="Prefect Secret block with the address, instead of url"
    )
    time: TimeSpec = Field(default=TimeSpec(), description="How the table's times read")

    @model_validator(mode="after")
    def _located(self) -> Self:
        if self.format is not Format.SQL or self.query is None:
            raise ValueError("format must be sql, with a query")
        if (self.url is None) == (self.block is None):
            raise ValueError("give exactly one of url and block")
        if self.url is not None and mask_password(self.url) != self.url:
            raise ValueError("url holds a password: write $VARIABLE, or name a block")
        return self

    @property
    def needed(self) -> tuple[str, ...]:
        """Source columns to read, each once; the one that grows is the last."""
        others = [name for name in super().needed if name != self.after]
        return (*others, self.after)


class DatasetSpec(FrozenModel):
    """A dataset: what conf/datasets/NAME.yaml holds."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Name used everywhere")
    description: str = Field(description="What the log is, in a sentence or two")
    licence: str = Field(description="Licence of the data")
    data_dir: Path = Field(
        default=Path(), description="Folder of the files; relative to the project root"
    )
    events: TableSpec | None = Field(default=None, description="The log")
    city: CityConfig | None = Field(
        default=None, description="Simulate the log and its catalogue instead of reading them"
    )
    items: TableSpec | None = Field(default=None, description="The catalogue, if there is one")
    users: TableSpec | None = Field(default=None, description="User attributes, if there are any")
    feedback: FeedSpec | None = Field(
        default=None, description="Where new interactions are appended, besides log and inbox"
    )
    surroundings: ContextTableSpec | None = Field(
        default=None, description="Readings by time and, perhaps, place: weather, promotions"
    )
    known_before: tuple[str, ...] = Field(
        default=(),
        description="Context columns of the events known before the choice: models may listen",
    )
    time: TimeSpec = Field(default=TimeSpec(), description="How the log's times read")
    local_zone: str | None = Field(
        default=None,
        description="IANA zone of the users' clocks when no column holds utc_offset_min",
    )
    event_type: str = Field(
        default="event", min_length=1, description="Type when no column holds it"
    )
    cell_resolution: int | None = Field(
        default=None,
        ge=0,
        le=15,
        description="An event without a place gets its H3 cell: 8 is half a kilometre, 15 half a m",
    )
    items_are_places: bool = Field(default=False, description="Check-ins: the item is the place")
    identity: tuple[str, ...] = Field(
        default=(c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.OCCURRED_AT, c.PLACE_ID, c.SESSION_ID),
        min_length=1,
        description="Columns that make two rows the same event",
    )

    @field_validator("local_zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None:
            zone(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [
            *_table_problems("events", self.events, EVENTS.names, _NEEDED_EVENTS),
            *_table_problems("items", self.items, ITEMS.names, (c.ITEM_ID,)),
            *_table_problems("users", self.users, USERS.names, (c.USER_ID,)),
            *_table_problems("feedback", self.feedback, EVENTS.names, _NEEDED_EVENTS),
        ]
        if (self.events is None) == (self.city is None):
            problems.append("give exactly one of events and city")
        known = [*EVENTS.names, *self.context_columns, *self.attribute_columns]
        stray = [name for name in self.identity if name not in known or name == c.EVENT_ID]
        problems += [f"identity: {name!r} is no column of the events" for name in stray]
        told = [] if self.events is None else list(self.events.context)
        problems += [
            f"known_before: {name!r} is no context column of the events"
            for name in self.known_before
            if name not in told
        ]
        extra = [*self.feedback.context, *self.feedback.attributes] if self.feedback else []
        problems += [f"feedback: the events have no {n!r}" for n in extra if n not in known]
        known += list(self.items.attributes) if self.items else []
        problems += [
            f"surroundings: {name!r} is the name of another column"
            for name in self.surrounding_columns
            if name in known
        ]
        if self.events and c.UTC_OFFSET_MIN in self.events.columns and self.local_zone:
            problems.append("give events.columns.utc_offset_min or local_zone, not both")
        if self.cell_resolution is not None and self.items_are_places:
            problems.append("give cell_resolution or items_are_places, not both")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def context_columns(self) -> tuple[str, ...]:
        """Names of the numeric context columns of the events."""
        return (IS_ANOMALY,) if self.events is None else tuple(self.events.context)

    @property
    def surrounding_columns(self) -> tuple[str, ...]:
        """Names of the columns joined from the surroundings."""
        return () if self.surroundings is None else tuple(self.surroundings.context)

    @property
    def attribute_columns(self) -> tuple[str, ...]:
        """Names of the further text columns of the events."""
        return () if self.events is None else tuple(self.events.attributes)


_NEEDED_EVENTS = (c.USER_ID, c.ITEM_ID, c.OCCURRED_AT)


def _table_problems(
    label: str, table: TableSpec | None, allowed: list[str], needed: tuple[str, ...]
) -> list[str]:
    if table is None:
        return []
    mapped = [*table.columns, *table.coalesce, *table.join]
    extra = [*table.context, *table.attributes]
    problems = [f"{label}: column {n!r} must be mapped" for n in needed if n not in mapped]
    problems += [
        f"{label}: {n!r} is no contract column; list it under context or attributes"
        for n in mapped
        if n not in allowed or n == c.EVENT_ID
    ]
    problems += [f"{label}: {n!r} is a contract column" for n in extra if n in allowed]
    twice = {n for n in [*mapped, *extra] if [*mapped, *extra].count(n) > 1}
    return problems + [f"{label}: {n!r} is mapped twice" for n in sorted(twice)]
