"""How long and how hard to train."""

from pydantic import BaseModel, ConfigDict, Field


class TrainingConfig(BaseModel):
    """Settings of one training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_epochs: int = Field(5, ge=1, le=1000, description="Passes over the targets at most.")
    batch_size: int = Field(128, ge=8, le=8192, description="Targets a step.")
    learning_rate: float = Field(1e-2, gt=0.0, le=1.0, description="Peak step size of AdamW.")
    weight_decay: float = Field(1e-4, ge=0.0, le=1.0, description="Decay of AdamW.")
    n_rounds: int = Field(8, ge=1, le=64, description="Rounds in which priors are recounted.")
    warmup_share: float = Field(
        0.1, gt=0.0, lt=1.0, description="First share of the log: state only, no targets."
    )
    later_share: float = Field(
        0.1, gt=0.0, lt=0.5, description="Last share of the log: chooses the epoch."
    )
    max_targets: int = Field(100_000, ge=100, description="Targets an epoch at most.")
    max_wait_h: float | None = Field(
        None, gt=0.0, description="Learn from events that came within so many hours of the last."
    )
    patience: int = Field(2, ge=1, description="Epochs without a better later loss.")
    full_softmax_items: int = Field(
        20_000, ge=0, description="Larger catalogues are trained on sampled candidates."
    )
    n_negatives: int = Field(
        1_000, ge=1, description="Popular, and again random, items beside a batch's own."
    )
    n_together: int = Field(8, ge=1, description="Targets of one user that share a batch.")
    n_processes: int = Field(
        1, ge=1, le=64, description="Processes that share each batch; a core each or more."
    )
    seed: int = Field(0, ge=0, description="Seed of everything random.")
