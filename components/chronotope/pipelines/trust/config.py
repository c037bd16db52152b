"""Settings of privacy: membership audit, and the budget of a training."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chronotope.training.private.config import PrivateTrainingConfig


class AuditConfig(BaseModel):
    """Membership audit of a candidate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    held_out_share: float = Field(
        0.0,
        ge=0.0,
        le=0.5,
        description="Share of the users that no training uses, so that an attack can be tried on "
        "them, e.g. 0.05; 0 leaves the audit out.",
    )
    max_users: int = Field(
        500, ge=10, description="Maximum number of held-out users, and of members, attacked."
    )
    targets_per_user: int = Field(
        20, ge=1, description="Events of a user whose loss the attacker knows, at most."
    )
    seed: int = Field(0, ge=0, description="Seed of the choice of users and events.")


class PrivacyConfig(BaseModel):
    """Privacy of a training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    audit: AuditConfig = Field(AuditConfig(), description="Membership audit of the candidate.")
    epsilon: float | None = Field(
        None,
        gt=0.0,
        le=100.0,
        description="Privacy loss of a training with respect to one user: noisy counts, and noisy "
        "steps from the parameters of a checkpoint of other data; None trains without noise.",
    )
    delta: float = Field(
        1e-5, gt=0.0, lt=0.1, description="Probability that the privacy loss is larger."
    )
    training: PrivateTrainingConfig = Field(
        PrivateTrainingConfig(),
        description="Noisy steps of training (DP-SGD) after the counts; by default none.",
    )

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.training.steps and self.epsilon is None:
            raise ValueError("privacy.training.steps need a budget: set privacy.epsilon")
        return self


def privacy_tags(privacy: PrivacyConfig) -> dict[str, str]:
    """Tags of a version with the budget of its training; none without one."""
    if privacy.epsilon is None:
        return {}
    tags = {"privacy_epsilon": f"{privacy.epsilon:g}", "privacy_delta": f"{privacy.delta:g}"}
    return tags | ({"privacy_steps": str(privacy.training.steps)} if privacy.training.steps else {})


def budget_text(privacy: PrivacyConfig) -> str:
    """Sentence on the budget of a training, for the model card; "" without one."""
    if privacy.epsilon is None:
        return ""
    if privacy.training.steps:
        return (
            f"Counts and {privacy.training.steps} steps of training have together epsilon "
            f"{privacy.epsilon:g} and delta {privacy.delta:g} with respect to one user; the start "
            "of the training is of other data."
        )
    return (
        f"The counts were released with epsilon {privacy.epsilon:g} and delta {privacy.delta:g} "
        "with respect to one user; the parameters are of other data."
    )
