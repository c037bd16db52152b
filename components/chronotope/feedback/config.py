"""Configuration of the feedback loop: triggers of a retraining, and rate limits of intake."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Mode = Literal["auto", "warm", "full"]


class FeedbackConfig(BaseModel):
    """Settings of the feedback loop: triggers of a retraining, and rate limits of intake."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    force: bool = Field(
        False,
        description="Retrain on any new events, even if there are few or their distribution "
        "exceeds hold_psi",
    )
    mode: Mode = Field(
        "auto",
        description="warm: start from the champion's network, one pass over the events it was "
        "not trained on; full: train from scratch with the champion's parameters; auto: warm "
        "unless the network cannot be reused, for example with a tenth of the items new",
    )
    min_rows: int = Field(
        500,
        ge=1,
        description="Number of new events of users with a history that triggers a retraining",
    )
    max_age_days: float = Field(
        7.0,
        gt=0,
        description="Days since the last training after which fewer new events trigger a "
        "retraining",
    )
    drift_reasons: tuple[str, ...] = Field(
        (),
        description="Drift found by monitoring; if not empty, fewer new events trigger a "
        "retraining",
    )
    drift_psi: float = Field(
        0.25,
        gt=0,
        description="Population stability index of new events above which they trigger a "
        "retraining",
    )
    hold_psi: float = Field(
        1.0,
        gt=0,
        description="Population stability index of new events above which they are held back "
        "from training",
    )
    min_compared_rows: int = Field(
        200,
        ge=20,
        description="Minimum number of new events to compute the population stability index",
    )
    hold_anomalies: bool = Field(
        True,
        description="Hold events that the champion anomaly detector flags out of training, in "
        "quarantine with the reason anomalous, until they are released",
    )
    rate_limit_rows: int = Field(
        100, ge=1, description="Number of rows of one user in a batch that are always accepted"
    )
    rate_limit_factor: float = Field(
        20.0,
        ge=1,
        description="Multiple of the median user's rows in a batch that one user may send, if "
        "more than rate_limit_rows",
    )
    batch_rows: int = Field(
        100_000,
        ge=1,
        le=5_000_000,
        description="Maximum number of interactions ingested at a time",
    )

    @model_validator(mode="after")
    def _check_psi_order(self) -> "FeedbackConfig":
        if self.hold_psi < self.drift_psi:
            raise ValueError("hold_psi must not be below drift_psi")
        return self
