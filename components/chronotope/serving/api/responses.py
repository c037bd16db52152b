"""Response models of the HTTP endpoints."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from chronotope.inference.request import PlaceForecast, RecommendedItem


class _ResponseModel(BaseModel):
    model_config = ConfigDict(frozen=True)


class BaseResponse(_ResponseModel):
    """Fields of every model response."""

    dataset: str
    version: str = Field(description="Version of the model that responded.")
    user_id: str | None
    request_time: datetime = Field(description="Time of the request.")
    n_history: int = Field(description="Number of the user's events before the request time.")
    n_unknown_items: int = Field(description="Events whose item the model does not know.")
    source: str = Field(
        "model",
        description="`model`, or `stored predictions of TIME` while no model can be loaded: those "
        "of the last batch scoring.",
    )
    notes: tuple[str, ...]


class RecommendResponse(BaseResponse):
    """Recommended items, most probable first unless the list was drawn at random."""

    answer_id: str = Field(description="Id of this list; send it with events that come from it.")
    experiment: str | None = Field(None, description="Experiment that the user takes part in.")
    arm: str | None = Field(None, description="Arm of the experiment, constant per user.")
    policy: str
    explored: bool = Field(False, description="Whether the list was drawn at random.")
    items: tuple[RecommendedItem, ...]
    propensities: tuple[float, ...] = Field(
        description="Probability that the policy shows each item in its position."
    )


class HistoryItem(_ResponseModel):
    """One event of the user's history."""

    item_id: str
    title: str
    occurred_at: datetime
    utc_offset_min: int
    lat: float | None
    lon: float | None


class TimeCurvePoint(_ResponseModel):
    """Distribution of the next event's time at one point.

    Attributes:
        cdf: Probability that the next event has occurred by then.
        hours: Hours from the request time.
        density: Probability per hour.
    """

    cdf: float
    hours: float
    density: float


class TimeCurve(_ResponseModel):
    """Hours from the request time to the next event, given the time since the latest one."""

    median_h: float
    low_h: float = Field(description="Lower end of the central 80 % interval.")
    high_h: float = Field(description="Upper end of the central 80 % interval.")
    since_last_event_h: float | None = Field(
        description="Hours since the latest event; null in stored predictions."
    )
    curve: tuple[TimeCurvePoint, ...]


class PredictResponse(BaseResponse):
    """Next item, its time and its place."""

    history: tuple[HistoryItem, ...] = Field(description="Latest events, oldest first.")
    items: tuple[RecommendedItem, ...]
    time_forecast: TimeCurve | None = Field(
        description="Null without a history or a long time after the latest event."
    )
    place_forecasts: tuple[PlaceForecast, ...] = Field(
        description="Most probable places first; empty where the dataset has none."
    )


class ExplainingEvent(_ResponseModel):
    """Event of the user's history that raised the score of an item."""

    item_id: str
    title: str
    occurred_at: datetime
    utc_offset_min: int
    effect: float = Field(
        description="Mean of two changes of the item's log-probability: by removing the event from "
        "the whole history, and by adding it to an empty one."
    )
    probability_without: float = Field(description="Probability of the item without this event.")
    rank_without: int = Field(description="Rank of the item without this event.")


class RemovedEvents(_ResponseModel):
    """Events without which an item would not be in the list, computed by scoring without them."""

    events: tuple[HistoryItem, ...]
    rank: int = Field(description="Rank of the item without these events.")
    probability: float = Field(description="Probability of the item without these events.")


class ItemExplanation(_ResponseModel):
    """Rank of an item, the events that made its score, and the counts behind it."""

    id: str
    title: str
    rank: int = Field(description="1 is the most probable of all items.")
    probability: float
    reason: str
    why: str = Field(description="Text for the user: why this item is shown.")
    events: tuple[ExplainingEvent, ...] = Field(
        description="Events that raised the score most, the strongest first; empty if the history "
        "hardly matters."
    )
    counterfactual: RemovedEvents | None = Field(
        description="Without these events the item would not be among the first k; null if it is "
        "not among them, if no such set of events was found, or without item_id."
    )
    n_user_events: int = Field(description="Events of the user with this item.")
    n_transitions: int = Field(
        description="Events of all users with this item right after the user's latest item."
    )
    n_recent_events: int = Field(description="Events of all users with this item in 28 days.")


class ExplainResponse(BaseResponse):
    """Explanation of one item or of the most probable ones."""

    items: tuple[ItemExplanation, ...]


class IngestReceipt(_ResponseModel):
    """Counts of posted records; all that are stored are on disk."""

    n_received: int
    n_new: int = Field(description="Records whose key and event were not stored before.")
    n_unknown_items: int = Field(description="Events whose item the model does not know.")
    n_not_stored: int = Field(
        0, description="Records of users who have opted out or were erased; nothing is logged."
    )


class ArmState(_ResponseModel):
    """State of one experiment arm."""

    name: str
    mode: str
    share: float
    model: str = Field(description="Version or alias of the arm.")
    version: str | None = Field(description="Version that responds.")
    fell_back: bool = Field(description="The champion responds: the model cannot be loaded.")
    problem: str | None = Field(description="Error that keeps the model, or a newer one, out.")


class HealthResponse(_ResponseModel):
    """State of the service and the model version that responds."""

    status: str
    dataset: str
    version: str | None
    source: str | None = Field(
        None,
        description="Source of the answers: `model`, or `stored predictions of TIME` while no "
        "model can be loaded; null if there is neither.",
    )
    problem: str | None = Field(
        None, description="Error that keeps a newer champion out, or damage of its files."
    )
    experiment: str | None = None
    arms: tuple[ArmState, ...] = ()


class FieldProblem(_ResponseModel):
    """Error of one request field."""

    field: str
    message: str


class Problem(_ResponseModel):
    """Error response."""

    detail: str = Field(description="The error, one sentence.")
    received: str | None = Field(None, description="The value that caused it.")
    hint: str = Field("", description="What the caller can do.")
    fields: tuple[FieldProblem, ...] = ()
