"""Settings of the augmentation."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

AugmentationKind = Literal[
    "none", "crop", "window", "mask", "reorder", "substitute", "generator", "gan"
]

AUGMENTATIONS: Final[tuple[AugmentationKind, ...]] = (
    "none",
    "crop",
    "window",
    "mask",
    "reorder",
    "substitute",
    "generator",
    "gan",
)

SPARSE_EVENTS: Final = 10
"""Users with at most so many events are sparse."""


class AugmentationConfig(BaseModel):
    """What is added to the real histories of a training; targets stay real events.

    The last event of a history always stays, and its time with it. Validation and evaluation read
    real histories only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: AugmentationKind = Field(
        "none",
        description="crop: a contiguous part of the history and the last event; window: only the "
        "latest events; mask: some events removed; reorder: items of a short span shuffled; "
        "substitute: some items replaced by what users have beside them; generator: users of a "
        "Markov-renewal process; gan: users of an adversarially trained network",
    )
    amount: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="Share of the queries whose history is changed; of a generator: generated "
        "targets for each real one",
    )
    sparse_only: bool = Field(
        False,
        description="Change histories of at most 10 events only; of a generator: only generated "
        "targets after at most 10 events",
    )
    weight: float = Field(
        0.5, gt=0.0, le=1.0, description="Weight of the loss of generated targets; real ones have 1"
    )

    @property
    def generates_users(self) -> bool:
        """Whether users are generated."""
        return self.kind in ("generator", "gan")
