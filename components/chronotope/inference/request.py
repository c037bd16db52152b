"""Options of a recommendation request and its typed result."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class RecommendOptions(BaseModel):
    """Number of items, filters and context of a request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = Field(10, ge=1, le=1000, description="Number of items.")
    lat: float | None = Field(None, ge=-90, le=90, description="Latitude of the user, degrees.")
    lon: float | None = Field(None, ge=-180, le=180, description="Longitude of the user, degrees.")
    within_km: float | None = Field(None, gt=0, description="Largest distance from the user, km.")
    category: str | None = Field(None, description="Only items of this category.")
    exclude_seen: bool = Field(False, description="Only items the user has not had yet.")
    context: dict[str, float] = Field(
        {},
        description="Context values, such as the weather; the lake supplies the others.",
    )
    attributes: dict[str, str | float] = Field(
        {},
        description="Attributes of the user, such as the age group; the lake supplies the others.",
    )
    liked_items: tuple[str, ...] = Field(
        (), description="Items the user likes; they count as events and are not recommended."
    )
    wish: str | None = Field(None, description="What the user looks for, in words.")


@dataclass(frozen=True, slots=True)
class RecommendedItem:
    """One recommended item; unknown fields are None.

    Attributes:
        id: External id.
        title: Title to display; "" if unknown.
        probability: Probability that it is the next item, over the whole catalogue; None with
            an item index, which does not score the whole catalogue.
        lat, lon: Degrees WGS 84.
        distance_km: Distance from the user.
        category: Category.
        reason: Reason as text.
        category_confidence: Confidence of a predicted category; None if the catalogue gives it.
    """

    id: str
    title: str
    probability: float | None
    lat: float | None
    lon: float | None
    distance_km: float | None
    category: str | None
    reason: str
    category_confidence: float | None = None


@dataclass(frozen=True, slots=True)
class TimeForecast:
    """Hours from the request time to the next event, given the gap so far.

    Attributes:
        median_h: Median.
        low_h, high_h: Central 80 % interval.
    """

    median_h: float
    low_h: float
    high_h: float


@dataclass(frozen=True, slots=True)
class PlaceForecast:
    """A place and the probability that the next event is there; degrees if known."""

    id: str
    probability: float
    lat: float | None = None
    lon: float | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Next items, time and place of a user.

    Attributes:
        dataset, version: The champion.
        user_id, request_time: User and time of the request.
        n_history: Events of the user before the request time.
        items: Likeliest first.
        when: Time forecast; None without a history.
        where: Likeliest places; empty where items are places or have none.
        notes: Limits of this recommendation.
    """

    dataset: str
    version: str
    user_id: str
    request_time: datetime
    n_history: int
    items: tuple[RecommendedItem, ...]
    when: TimeForecast | None
    where: tuple[PlaceForecast, ...]
    notes: tuple[str, ...]
