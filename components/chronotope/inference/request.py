"""The shapes of a question to the champion and of its answer."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class RecommendOptions(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = Field(10, ge=1, le=1000, description="Number of items.")
    lat: float | None = Field(None, ge=-90, le=90, description="Latitude of the user, degrees.")
    lon: float | None = Field(None, ge=-180, le=180, description="Longitude of the user, degrees.")
    within_km: float | None = Field(None, gt=0, description="Only items this near to the user.")
    category: str | None = Field(None, description="Only items of this kind.")
    exclude_seen: bool = Field(False, description="Only items the user has not had yet.")
    context: dict[str, float] = Field(
        {}, description="What is known of the moment, such as the weather; the lake knows the rest."
    )


@dataclass(frozen=True, slots=True)
class RecommendedItem:
    """One recommended item; what is unknown is None.

    Attributes:
        id: External id.
        title: What to show; "" if unknown.
        probability: That it is the next one, over the whole catalogue; of a large catalogue,
            which no answer reads as a whole, it is not known.
        lat, lon: Degrees WGS 84.
        distance_km: From where the user asked.
        category: Its kind.
        reason: Why, in words.
    """

    id: str
    title: str
    probability: float | None
    lat: float | None
    lon: float | None
    distance_km: float | None
    category: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class TimeForecast:
    """Hours from the moment asked about to the next event, given the silence until then.

    Attributes:
        median_h: As likely sooner as later.
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
    """What, when and where.

    Attributes:
        dataset, version: The champion that answered.
        user_id, at: Who was asked about, and the moment.
        n_history: Events of the user before that moment.
        items: Likeliest first.
        when: None without a history.
        where: Likeliest places; empty where items are places or have none.
        notes: What the reader should know of this answer.
    """

    dataset: str
    version: str
    user_id: str
    at: datetime
    n_history: int
    items: tuple[RecommendedItem, ...]
    when: TimeForecast | None
    where: tuple[PlaceForecast, ...]
    notes: tuple[str, ...]
