"""Settings of a synthetic log."""

from pydantic import BaseModel, ConfigDict, Field

from chronotope.models.config import ModelConfig
from chronotope.training.config import TrainingConfig
from chronotope.training.generators import GeneratorKind


class SynthesisSettings(BaseModel):
    """Size, generator and evaluation of a synthetic log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_users: int = Field(
        1_000, ge=1, le=1_000_000, description="Number of users of the synthetic log"
    )
    generator: GeneratorKind = Field(
        "markov_renewal",
        description="Markov-renewal process, or adversarially trained network",
    )
    seed: int = Field(0, ge=0, description="Seed of the fit, the users and the evaluation")
    min_users: int = Field(
        5,
        ge=1,
        description="Transitions of fewer users are never generated, and items of fewer users "
        "are equally likely: their frequency would tell who was there",
    )
    held_out_users: float = Field(
        0.2,
        gt=0,
        lt=0.9,
        description="Share of the users that the generator never sees: the privacy figures compare "
        "with them",
    )
    test_share: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="Latest share of the events, which the generator never sees: a model trained "
        "on the synthetic log is tested on them",
    )
    max_test_targets: int = Field(
        2_000, ge=50, description="Maximum number of events that the models are tested on"
    )
    max_attacked_users: int = Field(
        1_000, ge=50, description="Maximum number of users of each side of the membership attack"
    )
    model: ModelConfig = Field(
        ModelConfig(), description="Model that is trained on both logs for the fidelity figures"
    )
    training: TrainingConfig = Field(
        TrainingConfig(
            max_epochs=2, max_targets=10_000, discovery_targets=2_000, new_user_queries=0
        ),
        description="Training of that model",
    )
