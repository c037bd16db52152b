"""Schema of a dataset's YAML: sources and their column mapping."""

from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.schemas import EVENTS, ITEMS, USERS
from chronotope.contracts.user_buckets import MAX_BUCKETS
from chronotope.datasets.city import IS_ANOMALY, CityConfig
from chronotope.datasets.content_spec import ItemTableSpec
from chronotope.datasets.occurrences import OCCURRENCE
from chronotope.datasets.row_filters import KeepRules
from chronotope.datasets.table_spec import (
    ContextTableSpec,
    FeedSpec,
    ItemContextSpec,
    TableSpec,
)
from chronotope.datasets.time_spec import FrozenModel, TimeSpec
from chronotope.privacy import PrivacySettings
from chronotope.spacetime.time_zones import zone

ALL_COLUMNS: Final = "all"
"""Word in ``identity`` that stands for every mapped column of the events."""

_DEFAULT_IDENTITY: Final = (
    c.USER_ID,
    c.ITEM_ID,
    c.EVENT_TYPE,
    c.OCCURRED_AT,
    c.PLACE_ID,
    c.SESSION_ID,
)

_NO_USER_IDENTITY: Final = (
    "user_buckets: list user_id under identity, since ids of events are compared within a bucket"
)


def _identity_words(identity: object) -> object:
    """A single word as a list, as in ``identity: all``."""
    return (identity,) if isinstance(identity, str) else identity


class DatasetSpec(FrozenModel):
    """Dataset configuration, the content of conf/datasets/NAME.yaml."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Unique name of the dataset: lower-case letters, digits and underscores",
    )
    description: str = Field("", description="What the log contains, in one or two sentences")
    licence: str = Field("", description="Licence of the data, such as CC-BY-4.0")
    data_dir: Path = Field(
        default=Path(), description="Folder of the source files, relative to the project root"
    )
    events: TableSpec | None = Field(
        default=None,
        description="Source of the event log; exactly one of events and city is required",
    )
    city: CityConfig | None = Field(
        default=None,
        description="Simulated city that generates the event log and the item catalogue, "
        "instead of events",
    )
    items: ItemTableSpec | None = Field(
        default=None, description="Source of the item catalogue; optional"
    )
    users: TableSpec | None = Field(
        default=None, description="Source of the user attributes; optional"
    )
    feedback: FeedSpec | None = Field(
        default=None,
        description="SQL table of new interactions to collect, in addition to the interaction "
        "log and the inbox; optional",
    )
    context_table: ContextTableSpec | None = Field(
        default=None,
        description="Source of context readings by time and optionally by place, such as "
        "weather or promotions; optional",
    )
    item_context: ItemContextSpec | None = Field(
        default=None,
        description="Source of values of the items that change and are known before the choice, "
        "such as prices and promotions, by place and time; optional",
    )
    known_before: tuple[str, ...] = Field(
        default=(),
        description="Context columns of the events whose values are known before the user "
        "chooses an item; only these may be model inputs",
    )
    time: TimeSpec = Field(
        default=TimeSpec(), description="Time format of the event log and the context table"
    )
    local_zone: str | None = Field(
        default=None,
        description="Time zone of the users, an IANA name or an offset such as +08:00, from "
        "which utc_offset_min is computed when no column holds it",
    )
    event_type: str = Field(
        default="event", min_length=1, description="Event type of rows that have none"
    )
    cell_resolution: int | None = Field(
        default=None,
        ge=0,
        le=15,
        description="Resolution of the H3 cell that becomes the place_id of events without one; "
        "the edge of a cell is about 0.5 km long at 8 and 0.5 m at 15",
    )
    coordinate_decimals: int | None = Field(
        default=None,
        ge=0,
        le=6,
        description="Decimals of a degree to which coordinates of events are rounded before they "
        "are stored; 3 is about 0.1 km, 2 about 1 km. None stores them as they are",
    )
    privacy: PrivacySettings = Field(
        default=PrivacySettings(),
        description="What is stored and shown of people: pseudonyms, coarser places and times, "
        "retention, opt-out list, classes of columns",
    )
    items_are_places: bool = Field(
        default=False,
        description="Whether items are places, as in check-in data, so that item_id is used as "
        "place_id when no column holds it",
    )
    identity: Annotated[tuple[str, ...], BeforeValidator(_identity_words)] = Field(
        default=_DEFAULT_IDENTITY,
        min_length=1,
        description="Columns that identify an event; rows with equal values in all of them are "
        "duplicates of one event. The word all stands for every mapped column. With the word "
        "occurrence, rows of one delivery with equal values are separate events, numbered in "
        "the order of the source, so that ingesting the same source again adds nothing",
    )
    user_buckets: int = Field(
        default=1,
        ge=1,
        le=MAX_BUCKETS,
        description="Number of buckets of users that a new lake stores its events in, one per 10 "
        "million events or so; later stages hold one bucket at a time in memory. A lake that "
        "exists keeps its number until `chronotope rebucket`",
    )

    @field_validator("local_zone")
    @classmethod
    def _known_zone(cls, zone_name: str | None) -> str | None:
        if zone_name is not None:
            zone(zone_name)
        return zone_name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problem_texts = [
            *_table_problems("events", self.events, EVENTS.names, _REQUIRED_EVENT_COLUMNS),
            *_table_problems("items", self.items, ITEMS.names, (c.ITEM_ID,)),
            *_table_problems("users", self.users, USERS.names, (c.USER_ID,)),
            *_table_problems("feedback", self.feedback, EVENTS.names, _REQUIRED_EVENT_COLUMNS),
        ]
        problem_texts += [
            f"{table_label}: keep is for events and feedback only"
            for table_label, table_spec in (("items", self.items), ("users", self.users))
            if table_spec is not None and table_spec.keep
        ]
        if (self.events is None) == (self.city is None):
            problem_texts.append("exactly one of events and city is required")
        known_columns = [*EVENTS.names, *self.context_columns, *self.attribute_columns]
        stray_columns = [
            column_name
            for column_name in self.identity
            if column_name not in (*known_columns, ALL_COLUMNS, OCCURRENCE)
            or column_name == c.EVENT_ID
        ]
        problem_texts += [
            f"identity: {column_name!r} is not a column of the events"
            for column_name in stray_columns
        ]
        context_names = [] if self.events is None else list(self.events.context)
        problem_texts += [
            f"known_before: {column_name!r} is not a context column of the events"
            for column_name in self.known_before
            if column_name not in context_names
        ]
        feedback_columns = (
            [*self.feedback.context, *self.feedback.attributes] if self.feedback else []
        )
        problem_texts += [
            f"feedback: {column_name!r} is not a column of the events"
            for column_name in feedback_columns
            if column_name not in known_columns
        ]
        known_columns += list(self.items.attributes) if self.items else []
        problem_texts += [
            f"context_table: another column is already named {column_name!r}"
            for column_name in self.context_table_columns
            if column_name in known_columns
        ]
        if self.events and c.UTC_OFFSET_MIN in self.events.columns and self.local_zone:
            problem_texts.append("events.columns.utc_offset_min and local_zone exclude each other")
        if self.cell_resolution is not None and self.items_are_places:
            problem_texts.append("cell_resolution and items_are_places exclude each other")
        if self.user_buckets > 1 and not self.has_user_identity:
            problem_texts.append(_NO_USER_IDENTITY)
        problem_texts += _privacy_problems(self)
        if problem_texts:
            raise ValueError("; ".join(problem_texts))
        return self

    @property
    def identity_columns(self) -> tuple[str, ...]:
        """Columns whose values identify an event."""
        if ALL_COLUMNS in self.identity:
            event_columns = (name for name in EVENTS.names if name != c.EVENT_ID)
            return (*event_columns, *self.context_columns, *self.attribute_columns)
        named_columns = tuple(name for name in self.identity if name != OCCURRENCE)
        return named_columns or _DEFAULT_IDENTITY

    @property
    def has_user_identity(self) -> bool:
        """Whether events of different users always have different ids."""
        return c.USER_ID in self.identity_columns

    def require_user_identity(self, n_buckets: int) -> None:
        """Check that ids can be compared by bucket of users.

        Args:
            n_buckets: Number of buckets.

        Raises:
            ConfigError: Equal ids may be in several buckets.
        """
        if n_buckets > 1 and not self.has_user_identity:
            raise ConfigError(
                f"The events of {self.name} cannot be stored in buckets of users",
                received=f"identity: {', '.join(self.identity)}",
                way_out=_NO_USER_IDENTITY,
            )

    @property
    def has_occurrences(self) -> bool:
        """Whether rows of one delivery with equal identity are separate events."""
        return OCCURRENCE in self.identity

    @property
    def keep_rules(self) -> KeepRules:
        """Filters on the rows of the event log."""
        return {} if self.events is None else self.events.keep

    @property
    def context_columns(self) -> tuple[str, ...]:
        """Names of the numeric context columns of the events."""
        return (IS_ANOMALY,) if self.events is None else tuple(self.events.context)

    @property
    def context_table_columns(self) -> tuple[str, ...]:
        """Names of the columns joined from the context table."""
        return () if self.context_table is None else tuple(self.context_table.context)

    @property
    def item_context_defaults(self) -> dict[str, str | float]:
        """Default of each column of the item context."""
        return {} if self.item_context is None else self.item_context.defaults

    @property
    def attribute_columns(self) -> tuple[str, ...]:
        """Names of the additional text columns of the events."""
        return () if self.events is None else tuple(self.events.attributes)


def _privacy_problems(dataset_spec: DatasetSpec) -> list[str]:
    """What contradicts the ``privacy`` block, or undoes it."""
    privacy, problem_texts = dataset_spec.privacy, []
    user_attributes = [] if dataset_spec.users is None else list(dataset_spec.users.attributes)
    private_columns = [
        *(c.SESSION_ID, *dataset_spec.context_columns, *dataset_spec.attribute_columns),
        *user_attributes,
    ]
    problem_texts += [
        f"privacy.columns: {column_name!r} is no context column or attribute of events or users"
        for column_name in privacy.columns
        if column_name not in private_columns
    ]
    numbers = [name for name in privacy.identifiers if name in dataset_spec.context_columns]
    problem_texts += [
        f"privacy.columns: the number {column_name!r} cannot be an identifier; list it under "
        "attributes, as text"
        for column_name in numbers
    ]
    problem_texts += [
        f"known_before: {column_name!r} is sensitive; name it under privacy.sensitive_features, "
        "or leave it out"
        for column_name in dataset_spec.known_before
        if column_name in privacy.no_features and column_name not in numbers
    ]
    if privacy.pseudonyms is not None:
        problem_texts += [
            f"identity: {column_name!r} is an identifier, whose pseudonym changes with the key; "
            "leave it out"
            for column_name in dataset_spec.identity_columns
            if column_name in privacy.identifiers
        ]
        if dataset_spec.feedback is not None and c.USER_ID in dataset_spec.feedback.keep:
            problem_texts.append(
                "feedback.keep: user_id is a pseudonym by then; filter users in the query"
            )
    if privacy.h3_resolution is not None:
        if dataset_spec.coordinate_decimals is not None:
            problem_texts.append("coordinate_decimals and privacy.h3_resolution exclude each other")
        if (dataset_spec.cell_resolution or 0) > privacy.h3_resolution:
            problem_texts.append(
                "cell_resolution is finer than privacy.h3_resolution: places would tell what the "
                "coordinates do not"
            )
    return problem_texts


_REQUIRED_EVENT_COLUMNS = (c.USER_ID, c.ITEM_ID, c.OCCURRED_AT)


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
    problem_texts = [
        f"{table_label}: column {column_name!r} must be mapped"
        for column_name in required_columns
        if column_name not in mapped_columns
    ]
    problem_texts += [
        f"{table_label}: {column_name!r} is not a contract column; "
        "list it under context or attributes"
        for column_name in mapped_columns
        if column_name not in contract_columns or column_name == c.EVENT_ID
    ]
    problem_texts += [
        f"{table_label}: {column_name!r} is a contract column; list it under columns"
        for column_name in extra_columns
        if column_name in contract_columns
    ]
    repeated_columns = {
        column_name
        for column_name in [*mapped_columns, *extra_columns]
        if [*mapped_columns, *extra_columns].count(column_name) > 1
    }
    return problem_texts + [
        f"{table_label}: {column_name!r} is mapped twice"
        for column_name in sorted(repeated_columns)
    ]
