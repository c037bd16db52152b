"""Configuration of a training run."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from chronotope.training.augmentation.config import AugmentationConfig

Accelerator = Literal["auto", "cpu", "cuda"]

SCRATCH: Final = "scratch"
"""Start at the initial values of the layers."""

SHIPPED: Final = "pretrained"
"""Start at the checkpoint of the package."""

REGISTRY_SCHEME: Final = "mlflow:"
"""Beginning of a start that is an address in the model registry."""


class TrainingConfig(BaseModel):
    """Hyper-parameters of one training run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    init: str = Field(
        SCRATCH,
        min_length=1,
        description="Start of the parameters: scratch; pretrained, the checkpoint of the package; "
        "the path of a checkpoint; or mlflow:/NAME/VERSION.",
    )
    transfer_epochs: int = Field(
        2,
        ge=0,
        le=1000,
        description="Maximum passes over the targets from a pretrained start; 0 trains nothing.",
    )
    transfer_rate: float = Field(
        1.0, gt=0.0, le=1.0, description="Share of the learning rate from a pretrained start."
    )
    max_epochs: int = Field(
        5, ge=1, le=1000, description="Maximum number of passes over the targets."
    )
    batch_size: int = Field(128, ge=8, le=8192, description="Targets in a training step.")
    learning_rate: float = Field(1e-2, gt=0.0, le=1.0, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(1e-4, ge=0.0, le=1.0, description="Weight decay of AdamW.")
    n_rounds: int = Field(8, ge=1, le=64, description="Time rounds, each with its own priors.")
    warmup_share: float = Field(
        0.1, gt=0.0, lt=1.0, description="First share of the log: history only, no targets."
    )
    later_share: float = Field(
        0.1, gt=0.0, lt=0.5, description="Last share of the log: validation, selects the epoch."
    )
    max_targets: int = Field(100_000, ge=100, description="Maximum number of targets in an epoch.")
    discovery_targets: int = Field(
        8_000,
        ge=0,
        description="Discoveries, events of items that are new to their users, that train the "
        "discovery head; 0 leaves it out.",
    )
    new_user_queries: int = Field(
        3_000,
        ge=0,
        description="Queries of users with no or few events that fit the scores of new users; 0 "
        "leaves them out.",
    )
    item_context_targets: int = Field(
        2_000,
        ge=0,
        description="Later targets, and as many discoveries, that fit the weights of the item "
        "context and measure the worth of each column; columns without worth are dropped. 0 "
        "leaves it out.",
    )
    max_wait_h: float | None = Field(
        None,
        gt=0.0,
        description="Only train on targets within so many hours of the previous event.",
    )
    patience: int = Field(
        2, ge=1, description="Epochs without a better validation loss before training stops."
    )
    full_softmax_items: int = Field(
        20_000, ge=0, description="Larger catalogues are trained with sampled negatives."
    )
    n_negatives: int = Field(
        1_000,
        ge=1,
        description="Popular items, and as many random items, added to those of a batch.",
    )
    targets_per_user: int = Field(
        8, ge=1, description="Consecutive targets of one user in one batch."
    )
    n_processes: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that share each batch; needs one core for each, on this machine or, "
        "with engine ray, one here and the others on the cluster.",
    )
    n_threads: int = Field(
        1,
        ge=1,
        le=64,
        description="Threads that share each batch on the CPU: two shorten a step by a fifth, "
        "and need up to twice the memory. Dropout needs one.",
    )
    accelerator: Accelerator = Field(
        "auto", description="Device of the training; auto: a CUDA device if PyTorch sees one."
    )
    augmentation: AugmentationConfig = Field(
        AugmentationConfig(), description="What is added to the real histories; by default nothing."
    )
    seed: int = Field(0, ge=0, description="Random seed.")

    @property
    def is_pretrained(self) -> bool:
        """Whether the training starts from a checkpoint."""
        return self.init != SCRATCH

    @property
    def is_zero_shot(self) -> bool:
        """Whether the parameters of a checkpoint are used as they are."""
        return self.is_pretrained and self.transfer_epochs == 0
