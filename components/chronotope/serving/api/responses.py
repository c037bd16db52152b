"""What the service answers, as JSON."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from chronotope.inference.request import PlaceForecast, RecommendedItem


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True)


class BaseResponse(_Reply):
    """What every answer says."""

    dataset: str
    version: str = Field(description="The champion that answered.")
    user_id: str | None
    at: datetime = Field(description="The moment that was asked about.")
    n_history: int = Field(description="Events before the moment.")
    n_unknown: int = Field(description="Those of them that the model has to skip.")
    notes: tuple[str, ...]


class RecommendResponse(BaseResponse):
    """Items, likeliest first unless explored."""

    answer_id: str = Field(description="Send it with the events that come of this answer.")
    experiment: str | None = Field(None, description="That the user takes part in.")
    arm: str | None = Field(None, description="Of the experiment; always the same for a user.")
    policy: str
    explored: bool = Field(False, description="Whether chance made this list.")
    items: tuple[RecommendedItem, ...]
    propensities: tuple[float, ...] = Field(
        description="Probability that the policy puts this item in this position."
    )


class HistoryItem(_Reply):
    """One event of the user's past."""

    item_id: str
    title: str
    occurred_at: datetime
    utc_offset_min: int
    lat: float | None
    lon: float | None


class TimeCurvePoint(_Reply):
    """A point of the when-curve.

    Attributes:
        q: Probability that the next event has come by then.
        hours: Hours from the moment.
        density: Probability an hour.
    """

    q: float
    hours: float
    density: float


class TimeCurve(_Reply):
    """Hours from the moment to the next event, given the silence until then."""

    median_h: float
    low_h: float = Field(description="Begin of the central 80 % interval.")
    high_h: float = Field(description="End of the central 80 % interval.")
    silent_h: float = Field(description="Hours since the last event.")
    curve: tuple[TimeCurvePoint, ...]


class PredictResponse(BaseResponse):
    """What, when and where."""

    history: tuple[HistoryItem, ...] = Field(description="The latest events, oldest first.")
    items: tuple[RecommendedItem, ...]
    when: TimeCurve | None = Field(description="None without a past or after a very long silence.")
    where: tuple[PlaceForecast, ...] = Field(
        description="Likeliest first; none where there are no places."
    )


class ItemExplanation(_Reply):
    """Why an item has its rank."""

    id: str
    title: str
    rank: int = Field(description="1 is the likeliest of all items.")
    probability: float
    reason: str
    n_own: int = Field(description="How often the user had it.")
    n_follows: int = Field(description="How often it came right after the user's latest item.")
    n_recent: int = Field(description="How often anybody had it in 28 days.")


class ExplainResponse(BaseResponse):
    """Reasons, for one item or for the likeliest."""

    items: tuple[ItemExplanation, ...]


class IngestReceipt(_Reply):
    """What became of posted records; all are on the disk."""

    received: int
    new: int = Field(description="The others were there already, by their key.")
    n_unknown: int = Field(description="Items among them that the model has to skip.")


class ArmState(_Reply):
    """How an arm of the experiment stands."""

    name: str
    mode: str
    share: float
    model: str = Field(description="Version or alias that it asks for.")
    version: str | None = Field(description="That answers.")
    fell_back: bool = Field(description="The champion stands in: the model cannot be opened.")
    problem: str | None = Field(description="Why the model, or a newer one, is not opened.")


class HealthResponse(_Reply):
    """Whether the service runs, and who answers."""

    status: str
    dataset: str
    version: str | None
    problem: str | None = Field(
        None, description="Why a newer champion is not taken over, or its files are damaged."
    )
    experiment: str | None = None
    arms: tuple[ArmState, ...] = ()


class FieldProblem(_Reply):
    """A field that is wrong."""

    field: str
    problem: str


class Problem(_Reply):
    """Why there is no answer."""

    what: str
    received: str | None = None
    way_out: str = ""
    fields: tuple[FieldProblem, ...] = ()
