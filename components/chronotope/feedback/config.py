"""What the feedback loop may be told: how much is enough, and what is too much."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Mode = Literal["auto", "warm", "full"]


class FeedbackConfig(BaseModel):
    """When new interactions are learned from, and what is kept out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    force: bool = Field(
        False, description="Retrain on whatever is new, also if little, or if it looks broken"
    )
    mode: Mode = Field(
        "auto",
        description="warm: one pass over what it was not trained on; full: from scratch with "
        "the champion's parameters; auto: warm unless a tenth of the items is new to it",
    )
    min_rows: int = Field(
        500, ge=1, description="So many new events of users with a past are enough to retrain"
    )
    max_age_days: float = Field(
        7.0, gt=0, description="Retrain on fewer new events if the last training is older"
    )
    drifted: tuple[str, ...] = Field(
        (), description="What monitoring says has drifted: a reason to retrain on fewer new events"
    )
    drift_psi: float = Field(
        0.25, gt=0, description="Retrain if a distribution moved by more (stability index)"
    )
    break_psi: float = Field(
        1.0, gt=0, description="Hold back from training if one moved by more: a break, not a drift"
    )
    compared_rows: int = Field(
        200, ge=20, description="With fewer new events distributions are not compared"
    )
    flood_rows: int = Field(
        100, ge=1, description="Rows of one account in a delivery that are always taken"
    )
    flood_factor: float = Field(
        20.0, ge=1, description="Above them, an account may send so many times the median's rows"
    )
    delivery_rows: int = Field(
        100_000,
        ge=1,
        le=5_000_000,
        description="Interactions taken in at a time; files are read whole",
    )

    @model_validator(mode="after")
    def _a_break_is_more_than_a_drift(self) -> "FeedbackConfig":
        if self.break_psi < self.drift_psi:
            raise ValueError("break_psi must not be below drift_psi")
        return self
