"""Configuration of the feedback loop: when to retrain, and which rows to refuse."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Mode = Literal["auto", "warm", "full"]


class FeedbackConfig(BaseModel):
    """When new interactions trigger a retraining, and which of them are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    force: bool = Field(
        False, description="Retrain on any new events, even if few, or if they look broken"
    )
    mode: Mode = Field(
        "auto",
        description="warm: one pass over the events it was not trained on; full: from scratch "
        "with the champion's parameters; auto: warm unless a tenth of the items is new to it",
    )
    min_rows: int = Field(
        500, ge=1, description="New events of users with a history that trigger a retraining"
    )
    max_age_days: float = Field(
        7.0, gt=0, description="Retrain on fewer new events if the last training is older"
    )
    drift_reasons: tuple[str, ...] = Field(
        (), description="Drift reported by monitoring: a reason to retrain on fewer new events"
    )
    drift_psi: float = Field(
        0.25, gt=0, description="Retrain if the stability index of a distribution is above it"
    )
    hold_psi: float = Field(
        1.0, gt=0, description="Hold back from training if a stability index is above it"
    )
    min_compared_rows: int = Field(
        200, ge=20, description="With fewer new events distributions are not compared"
    )
    rate_limit_rows: int = Field(
        100, ge=1, description="Rows of one user in a batch that are always accepted"
    )
    rate_limit_factor: float = Field(
        20.0, ge=1, description="Above them, a user may send this many times the median's rows"
    )
    batch_rows: int = Field(
        100_000,
        ge=1,
        le=5_000_000,
        description="Interactions ingested at a time; files are read whole",
    )

    @model_validator(mode="after")
    def _check_psi_order(self) -> "FeedbackConfig":
        if self.hold_psi < self.drift_psi:
            raise ValueError("hold_psi must not be below drift_psi")
        return self
