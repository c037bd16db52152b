"""Settings of a training under differential privacy."""

from pydantic import BaseModel, ConfigDict, Field


class PrivateTrainingConfig(BaseModel):
    """Steps of a training under differential privacy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(
        0, ge=0, le=10_000, description="Noisy steps; 0 trains nothing and spends all on counts."
    )
    sample_rate: float = Field(
        0.3, gt=0.0, lt=1.0, description="Probability with which a user takes part in a step."
    )
    max_gradient_norm: float = Field(
        1.0, gt=0.0, description="L2 norm to which the gradient of a user is scaled down."
    )
    learning_rate: float = Field(0.05, gt=0.0, le=1.0, description="Learning rate of Adam.")
    targets_per_user: int = Field(
        32, ge=1, le=1024, description="Targets of a user, drawn anew in each step."
    )
    counts_share: float = Field(
        0.5,
        gt=0.0,
        lt=1.0,
        description="Share of epsilon that the counts alone would spend; the steps get the rest.",
    )
