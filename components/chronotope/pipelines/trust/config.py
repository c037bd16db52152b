"""Settings of privacy: users held out of the training for the membership audit."""

from pydantic import BaseModel, ConfigDict, Field


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
