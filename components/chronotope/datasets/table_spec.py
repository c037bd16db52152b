"""Schema of the source of one table in a dataset's YAML."""

from datetime import date
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from chronotope.contracts import columns as c
from chronotope.datasets.row_filters import KeepRules
from chronotope.datasets.text_options import TextOptions
from chronotope.datasets.time_spec import FrozenModel, TimeSpec
from chronotope.runtime.store_urls import mask_password


class Format(StrEnum):
    """Storage format of a source."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"
    SQL = "sql"
    DELTA = "delta"
    EXCEL = "excel"

    @classmethod
    def _missing_(cls, value: object) -> "Format | None":
        """Other names of JSON Lines."""
        return cls.JSON if value in ("jsonl", "ndjson") else None


class SourceLimits(FrozenModel):
    """Limits on the duration and the size of reading a source."""

    timeout_s: float = Field(
        default=30.0,
        gt=0,
        le=3_600,
        description="Seconds to wait for data from an HTTP server, or for a database connection",
    )
    total_timeout_s: float = Field(
        default=3_600.0,
        gt=0,
        le=86_400,
        description="Seconds for a complete download, or for a database to return its next rows",
    )
    max_bytes: int = Field(
        default=64 << 30,
        ge=1,
        description="Maximum size of a download, and of the files of a table after "
        "decompression, bytes",
    )


class TableSpec(TextOptions):
    """Source of one table: where its rows are stored, and the mapping of its columns."""

    format: Format = Field(
        description="Storage format: csv, json (or jsonl), parquet, sql, delta (folder of a Delta "
        "table) or excel"
    )
    path: str | None = Field(
        default=None,
        description="File, folder or glob such as by-day/*.csv, relative to data_dir, with "
        "$VARIABLES expanded; or an http(s) URL of one file",
    )
    version: int | None = Field(
        default=None,
        ge=0,
        description="Version of a Delta table (format delta); by default the current one",
    )
    sheet: str | int | None = Field(
        default=None,
        description="Sheet of a workbook (format excel): its name, or its number from 1; by "
        "default the only sheet that has rows",
    )
    package: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Installed top-level Python package; path is then relative to its folder "
        "instead of data_dir",
    )
    url: str | None = Field(
        default=None,
        description="SQLAlchemy URL of the database (format sql); a $VARIABLE may stand for the "
        "whole URL, the user, the password, or part of the path of an SQLite file",
    )
    query: str | None = Field(
        default=None, description="SELECT statement that returns the rows (format sql)"
    )
    columns: dict[str, str] = Field(
        description="Mapping from contract column, such as user_id, to source column"
    )
    coalesce: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Mapping from contract column to a list of source columns; the first value "
        "that is not null is used",
    )
    join: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Mapping from contract column to a list of source columns; their texts are "
        "joined with join_separator",
    )
    join_separator: str | None = Field(
        default=None,
        max_length=16,
        description="Text between the joined texts of join. Left out, it is a comma and a space; "
        "for occurred_at it is a space, unless time.pattern has a comma and a space",
    )
    context: dict[str, str] = Field(
        default_factory=dict,
        description="Mapping from numeric context column, such as temperature_c, to source column",
    )
    attributes: dict[str, str] = Field(
        default_factory=dict,
        description="Mapping from additional text column to source column",
    )
    keep: KeepRules = Field(
        default_factory=dict,
        description="Rows to read, by column: a mapped contract column or a column of the source, "
        "with conditions such as {gt: 0}, {in: [purchase]} or {not_starts_with: C}; other rows "
        "are dropped and counted (events and feedback only)",
    )
    # Excluded: the identity of a source must not depend on its time-outs.
    limits: SourceLimits = Field(
        default=SourceLimits(),
        exclude=True,
        description="Limits on the duration and the size of reading the source",
    )

    @model_validator(mode="after")
    def _located(self) -> Self:
        is_sql = self.format is Format.SQL
        if is_sql and (self.url is None or self.query is None):
            raise ValueError("format sql requires url and query")
        if not is_sql and self.path is None:
            raise ValueError(f"format {self.format} requires path")
        if self.format is Format.DELTA and "://" in (self.path or ""):
            raise ValueError("format delta requires a local folder as path")
        if self.version is not None and self.format is not Format.DELTA:
            raise ValueError("version requires format delta")
        if self.sheet is not None and self.format is not Format.EXCEL:
            raise ValueError("sheet requires format excel")
        return self

    @property
    def sources(self) -> dict[str, str]:
        """Mapping to source columns, for columns that are copied from a single one."""
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
        return tuple(
            dict.fromkeys([*self.sources.values(), *combined_columns, *self.filter_columns])
        )

    @property
    def filter_columns(self) -> tuple[str, ...]:
        """Source columns that are read for filters only: those in ``keep`` that are not mapped."""
        mapped_columns = {*self.sources, *self.coalesce, *self.join}
        return tuple(column_name for column_name in self.keep if column_name not in mapped_columns)


class ContextTableSpec(TableSpec):
    """Table of context readings, such as weather, of which each event gets the latest."""

    valid_h: float = Field(
        default=24.0,
        gt=0.0,
        description="Hours from the time of a reading during which it applies to events",
    )

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        if set(self.columns) - {c.PLACE_ID} != {c.OCCURRED_AT}:
            raise ValueError("columns must map occurred_at, may map place_id, and no other column")
        if not self.context or self.attributes or self.coalesce or self.join or self.keep:
            raise ValueError(
                "readings are numbers: list them under context; attributes, coalesce, join "
                "and keep are not allowed"
            )
        return self


class ItemContextSpec(TableSpec):
    """Values of items that change, such as prices and promotions, by place and time."""

    defaults: dict[str, str | float] = Field(
        description="Value of each column for items without a row: a text for the columns under "
        "attributes, a number for those under context"
    )
    first_week: date | None = Field(
        default=None,
        description="First day of week 1, where columns map week, a number, instead of valid_from",
    )
    time: TimeSpec | None = Field(
        default=None, description="Time format of valid_from and valid_until; by default the log's"
    )

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        start = c.VALID_FROM if self.first_week is None else c.WEEK
        optional_columns = {c.PLACE_ID} | ({c.VALID_UNTIL} if start == c.VALID_FROM else set())
        if set(self.columns) - optional_columns != {c.ITEM_ID, start}:
            raise ValueError(
                "columns must map item_id, and valid_from or, with first_week, week; they may map "
                "place_id and, with valid_from, valid_until, and no other column"
            )
        if self.coalesce or self.join or self.keep:
            raise ValueError("coalesce, join and keep are not allowed")
        if set(self.defaults) != {*self.context, *self.attributes} or not self.defaults:
            raise ValueError("defaults must name each column under context and attributes")
        wrong_types = [
            name
            for name, default in self.defaults.items()
            if isinstance(default, str) is not (name in self.attributes)
        ]
        if wrong_types:
            raise ValueError(f"defaults: {wrong_types} must be a number under context, else a text")
        return self


class FeedSpec(TableSpec):
    """SQL table of new interactions, read incrementally in the order of a cursor column."""

    format: Format = Field(
        default=Format.SQL,
        description="Storage format; always sql, since only a database can be read incrementally",
    )
    after: str = Field(
        min_length=1,
        description="Cursor column of the source: it grows with every new row and has no nulls, "
        "such as an auto-increment id",
    )
    reread_rows: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="Number of newest rows to read again, so that rows of transactions that "
        "committed late are not missed",
    )
    block: str | None = Field(
        default=None,
        description="Name of the Prefect Secret block that holds the database URL, instead of url",
    )
    time: TimeSpec = Field(default=TimeSpec(), description="Time format of this table")

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
