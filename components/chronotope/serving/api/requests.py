"""What can be asked of the service, and told to it."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    StringConstraints,
    Tag,
    model_validator,
)

from chronotope.contracts.clock import is_in_future
from chronotope.inference.request import RecommendOptions

_FIRST, _LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _possible(moment: datetime) -> datetime:
    if not _FIRST <= moment <= _LAST:
        raise ValueError("must lie between 1970 and 2200")
    return moment


def _past(moment: datetime) -> datetime:
    if is_in_future(moment, datetime.now(UTC)):
        raise ValueError("lies in the future")
    return moment


Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Moment = Annotated[AwareDatetime, AfterValidator(_possible)]
Happened = Annotated[Moment, AfterValidator(_past)]
InUtc = AfterValidator(lambda moment: moment.astimezone(UTC))
Offset = Annotated[int, Field(ge=-1440, le=1440)]
Lat = Annotated[float, Field(ge=-90, le=90)]
Lon = Annotated[float, Field(ge=-180, le=180)]
Context = Annotated[dict[Text, FiniteFloat], Field(max_length=100)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PastEvent(_Strict):
    """An event of a history that comes with the question."""

    item_id: Text
    occurred_at: Happened = Field(description="With a time zone.")
    utc_offset_min: Offset = Field(0, description="Minutes to add to UTC for the user's clock.")
    place_id: Text | None = None


class UserRequest(_Strict):
    """Who asks, and at what moment."""

    user_id: Text | None = Field(None, description="As in the log; a stranger is answered too.")
    history: list[PastEvent] | None = Field(
        None, max_length=10_000, description="Instead of a user id: what happened so far."
    )
    at: Moment | None = Field(None, description="The moment, with a time zone; now if left out.")
    utc_offset_min: Offset | None = Field(
        None, description="Minutes to add to UTC for the user's clock; by default the last known."
    )
    place_id: Text | None = Field(None, description="Where the user is.")
    lat: Lat | None = Field(None, description="Where the user is, degrees WGS 84.")
    lon: Lon | None = Field(None, description="Where the user is, degrees WGS 84.")
    context: Context = Field({}, description="What else is known of the moment, by column.")
    k: int = Field(10, ge=1, le=1000, description="Number of items.")

    @model_validator(mode="after")
    def _one_past(self) -> Self:
        if self.user_id is not None and self.history is not None:
            raise ValueError("give user_id or history, not both")
        if (self.lat is None) != (self.lon is None):
            raise ValueError("give both lat and lon, or neither")
        return self

    def wish(self) -> RecommendOptions:
        """What is asked for."""
        return RecommendOptions(k=self.k, lat=self.lat, lon=self.lon)


class RecommendRequest(UserRequest):
    """Which items?"""

    within_km: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="Only items this near to lat and lon."
    )
    category: Text | None = Field(None, description="Only items of this kind.")
    exclude_seen: bool = Field(False, description="Only items the user has not had yet.")
    explore: bool = Field(
        True, description="False: the list is not drawn at random, whatever the service's share."
    )
    epsilon: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Share of answers drawn at random, instead of the service's own."
    )
    diversity: float = Field(
        0.0, ge=0, le=1, description="0: the likeliest items; 1: items as unlike as can be."
    )

    @model_validator(mode="after")
    def _near_what(self) -> Self:
        if self.within_km is not None and self.lat is None:
            raise ValueError("within_km needs lat and lon")
        return self

    @property
    def is_short(self) -> bool:
        """Whether the answer takes hardly longer than the graph."""
        n_told = 0 if self.history is None else len(self.history)
        return self.k <= 100 and not self.diversity and n_told <= 1000

    def wish(self) -> RecommendOptions:
        """What is asked for."""
        return RecommendOptions(
            k=self.k,
            lat=self.lat,
            lon=self.lon,
            within_km=self.within_km,
            category=self.category,
            exclude_seen=self.exclude_seen,
        )


class PredictRequest(UserRequest):
    """What, when and where?"""

    n_places: int = Field(10, ge=0, le=1000, description="Number of places.")
    n_history: int = Field(50, ge=0, le=10_000, description="Latest events to send back.")


class PostedEvent(_Strict):
    """Something a user did."""

    kind: Literal["event"]
    key: Annotated[Text, Field(max_length=200, description="The same key counts once.")]
    user_id: Text
    item_id: Text
    event_type: Text | None = Field(None, description="The dataset's own if left out.")
    occurred_at: Annotated[Happened, InUtc] = Field(description="With a time zone.")
    utc_offset_min: Offset | None = None
    place_id: Text | None = None
    lat: Lat | None = None
    lon: Lon | None = None
    value: FiniteFloat | None = None
    session_id: Text | None = None
    context: Context = {}
    answer_id: Text | None = Field(None, description="The answer that this came of, if any.")


class PostedImpression(_Strict):
    """Something that was shown; the service logs its own answers itself."""

    kind: Literal["impression"]
    key: Annotated[Text, Field(max_length=200, description="The same key counts once.")]
    answer_id: Text
    user_id: Text | None = None
    at: Annotated[Happened, InUtc]
    items: list[Text] = Field(max_length=1000, description="In the order they were shown.")
    probabilities: list[FiniteFloat] = Field([], max_length=1000)
    propensities: list[FiniteFloat] = Field([], max_length=1000)
    version: Text
    policy: Text
    experiment: Text | None = None
    arm: Text | None = None

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        lengths = {len(self.probabilities), len(self.propensities)} - {0}
        if lengths - {len(self.items)}:
            raise ValueError("probabilities and propensities must be as many as items, or none")
        return self


def _one_or_many(value: object) -> str:
    return "many" if isinstance(value, list) else "one"


Posted = Annotated[PostedEvent | PostedImpression, Field(discriminator="kind")]
"""A record."""

PostedRecords = Annotated[
    Annotated[Posted, Tag("one")] | Annotated[list[Posted], Field(max_length=1000), Tag("many")],
    Discriminator(_one_or_many),
]
"""What can be posted to ``/events``: a record or a list."""
