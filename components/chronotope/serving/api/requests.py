"""Request models of the HTTP endpoints."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    StringConstraints,
    Tag,
    model_validator,
)

from chronotope.contracts.clock import is_in_future
from chronotope.contracts.event_bounds import (
    EARLIEST_TIME,
    MAX_ID_CHARS,
    MAX_LAT_DEG,
    MAX_LON_DEG,
    MAX_UTC_OFFSET_MIN,
)
from chronotope.contracts.id_rules import MISSING, canonical_id, id_problem
from chronotope.inference.request import RecommendOptions

_FIRST_TIME, _LAST_TIME = datetime(1970, 1, 2, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_FAST_MAX_ITEMS = 100
_FAST_MAX_EVENTS = 1000


def _check_time_range(timestamp: datetime) -> datetime:
    if not _FIRST_TIME <= timestamp <= _LAST_TIME:
        raise ValueError("must lie between 1970 and 2200")
    return timestamp


def _check_not_future(timestamp: datetime) -> datetime:
    if is_in_future(timestamp, datetime.now(UTC)):
        raise ValueError("lies in the future")
    return timestamp


def _check_earliest(timestamp: datetime) -> datetime:
    if timestamp < EARLIEST_TIME:
        raise ValueError(f"lies before {EARLIEST_TIME.year}")
    return timestamp


def _id_text(json_value: object) -> object:
    """Text of an id: integers are exact, and other numbers have no form that is certain."""
    if isinstance(json_value, bool | float):
        raise ValueError(  # noqa: TRY004 - pydantic reports it with the field's name
            "an id is a text or an integer, no other number and not true or false"
        )
    if isinstance(json_value, int):
        return str(json_value)
    return canonical_id(json_value) if isinstance(json_value, str) else json_value


def _optional_id_text(json_value: object) -> object:
    """Text of an id; None for a text that stands for a missing one."""
    id_text = _id_text(json_value)
    is_missing = isinstance(id_text, str) and (id_problem(id_text) or "").startswith(MISSING)
    return None if is_missing else id_text


def _check_id(id_text: str) -> str:
    """Refuse an id that ingestion would quarantine."""
    problem_text = id_problem(id_text)
    if problem_text is not None:
        raise ValueError(problem_text)
    return id_text


def _check_wish(wish: str) -> str:
    if not wish.strip():
        raise ValueError("must contain words")
    return wish


Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
IdText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_ID_CHARS),
    BeforeValidator(_id_text, json_schema_input_type=str | int),
]
EventIdText = Annotated[IdText, AfterValidator(_check_id)]
OptionalEventIdText = Annotated[
    EventIdText | None, BeforeValidator(_optional_id_text, json_schema_input_type=str | int | None)
]
Timestamp = Annotated[AwareDatetime, AfterValidator(_check_time_range)]
PastTimestamp = Annotated[Timestamp, AfterValidator(_check_not_future)]
EventTimestamp = Annotated[PastTimestamp, AfterValidator(_check_earliest)]
InUtc = AfterValidator(lambda timestamp: timestamp.astimezone(UTC))
UtcOffset = Annotated[int, Field(ge=-MAX_UTC_OFFSET_MIN, le=MAX_UTC_OFFSET_MIN)]
Latitude = Annotated[float, Field(ge=-MAX_LAT_DEG, le=MAX_LAT_DEG)]
Longitude = Annotated[float, Field(ge=-MAX_LON_DEG, le=MAX_LON_DEG)]
Context = Annotated[dict[Text, FiniteFloat], Field(max_length=100)]


Attributes = Annotated[dict[Text, Text | FiniteFloat], Field(max_length=100)]


class _StrictModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HistoryEvent(_StrictModel):
    """One event of a history that is sent with a request."""

    item_id: IdText
    occurred_at: PastTimestamp = Field(description="Time of the event, with a time zone.")
    utc_offset_min: UtcOffset = Field(
        0, description="Minutes to add to UTC for the user's local time."
    )
    place_id: IdText | None = None


class UserRequest(_StrictModel):
    """User or history, request time, location and context of a request."""

    user_id: IdText | None = Field(
        None, description="User id as in the log; an unknown id is a cold-start user."
    )
    history: list[HistoryEvent] | None = Field(
        None, max_length=10_000, description="Events of the user so far, instead of a user id."
    )
    request_time: Timestamp | None = Field(
        None, description="Time of the request, with a time zone; the current time by default."
    )
    utc_offset_min: UtcOffset | None = Field(
        None,
        description="Minutes to add to UTC for the user's local time; by default the offset of "
        "the latest event.",
    )
    place_id: IdText | None = Field(None, description="Place of the user.")
    lat: Latitude | None = Field(None, description="Latitude of the user, degrees WGS 84.")
    lon: Longitude | None = Field(None, description="Longitude of the user, degrees WGS 84.")
    context: Context = Field({}, description="Context features of the request, by column.")
    attributes: Attributes = Field(
        {},
        description="Attributes of the user, such as the age group, by column; by default those "
        "of the users table. A value that the model does not know is unknown.",
    )
    k: int = Field(10, ge=1, le=1000, description="Number of items.")

    @model_validator(mode="after")
    def _check_user_and_location(self) -> Self:
        if self.user_id is not None and self.history is not None:
            raise ValueError("give user_id or history, not both")
        if (self.lat is None) != (self.lon is None):
            raise ValueError("give both lat and lon, or neither")
        return self

    def recommend_options(self) -> RecommendOptions:
        """Options of the ranking."""
        return RecommendOptions(k=self.k, lat=self.lat, lon=self.lon)


class RecommendRequest(UserRequest):
    """Request of a recommendation list."""

    within_km: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="Maximal distance of items from lat and lon, km."
    )
    category: Text | None = Field(None, description="Only items of this category.")
    exclude_seen: bool = Field(False, description="Exclude items of the user's history.")
    liked_items: tuple[IdText, ...] = Field(
        (),
        max_length=100,
        description="Items the user likes, the latest last: they count as events and are not "
        "recommended.",
    )
    wish: Annotated[Text, AfterValidator(_check_wish)] | None = Field(
        None, description="What the user looks for, in words; needs items with encoded texts."
    )
    explore: bool = Field(
        True, description="False: never a random list, whatever the exploration of the service."
    )
    epsilon: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Probability of a random list, instead of the service's own."
    )
    diversity: float = Field(
        0.0, ge=0, le=1, description="0: order of the model; 1: items as dissimilar as possible."
    )
    tail_exposure: Annotated[float, Field(ge=0, le=10)] | None = Field(
        None,
        description="Bonus of items outside the most popular fifth, instead of the service's own; "
        "diversity excludes it.",
    )

    @model_validator(mode="after")
    def _check_radius(self) -> Self:
        if self.within_km is not None and self.lat is None:
            raise ValueError("within_km needs lat and lon")
        return self

    @property
    def is_fast(self) -> bool:
        """Whether the response takes hardly longer than the model run."""
        n_events = 0 if self.history is None else len(self.history)
        is_small = self.k <= _FAST_MAX_ITEMS and n_events <= _FAST_MAX_EVENTS
        return is_small and not self.diversity and self.wish is None

    def recommend_options(self) -> RecommendOptions:
        """Options of the ranking, with filters."""
        return RecommendOptions(
            k=self.k,
            lat=self.lat,
            lon=self.lon,
            within_km=self.within_km,
            category=self.category,
            exclude_seen=self.exclude_seen,
            wish=self.wish,
        )


class PredictRequest(UserRequest):
    """Request of the next item, its time and its place."""

    n_places: int = Field(10, ge=0, le=1000, description="Number of places.")
    n_history: int = Field(50, ge=0, le=10_000, description="Number of latest events to return.")


class PostedEvent(_StrictModel):
    """Event of a user."""

    kind: Literal["event"]
    key: Annotated[
        Text, Field(max_length=200, description="Idempotency key: equal keys are one record.")
    ]
    user_id: EventIdText
    item_id: EventIdText
    event_type: OptionalEventIdText = Field(
        None, description="By default the event type of the dataset."
    )
    occurred_at: Annotated[EventTimestamp, InUtc] = Field(
        description="Time of the event, with a time zone."
    )
    utc_offset_min: UtcOffset | None = None
    place_id: OptionalEventIdText = None
    lat: Latitude | None = None
    lon: Longitude | None = None
    value: FiniteFloat | None = None
    session_id: OptionalEventIdText = None
    context: Context = {}
    answer_id: Text | None = Field(
        None, description="Id of the recommendation list that the event came from."
    )


class PostedImpression(_StrictModel):
    """List shown by another system; the service logs its own lists itself."""

    kind: Literal["impression"]
    key: Annotated[
        Text, Field(max_length=200, description="Idempotency key: equal keys are one record.")
    ]
    answer_id: Text
    user_id: IdText | None = None
    shown_at: Annotated[PastTimestamp, InUtc]
    items: list[IdText] = Field(max_length=1000, description="Item ids in the order shown.")
    probabilities: list[FiniteFloat] = Field([], max_length=1000)
    propensities: list[FiniteFloat] = Field([], max_length=1000)
    version: Text
    policy: Text
    experiment: Text | None = None
    arm: Text | None = None

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        list_lengths = {len(self.probabilities), len(self.propensities)} - {0}
        if list_lengths - {len(self.items)}:
            raise ValueError("probabilities and propensities must be as many as items, or none")
        return self


def body_tag(body: object) -> str:
    """Tag of a body that is one object or a list of them: ``one`` or ``many``."""
    return "many" if isinstance(body, list) else "one"


PostedRecord = Annotated[PostedEvent | PostedImpression, Field(discriminator="kind")]
"""An event or an impression."""

PostedRecords = Annotated[
    Annotated[PostedRecord, Tag("one")]
    | Annotated[list[PostedRecord], Field(max_length=1000), Tag("many")],
    Discriminator(body_tag),
]
"""Body of ``POST /events``: a record or a list of records."""
