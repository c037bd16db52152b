"""The ``privacy`` block of a dataset's YAML: what is stored of people, in which form, how long."""

from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_VARIABLE: Final = "CHRONOTOPE_PSEUDONYM_SECRET"
"""Environment variable of the keys; masked in every message by its name."""

MINUTES_PER_DAY: Final = 1_440


class ColumnClass(StrEnum):
    """What a column says of a person."""

    IDENTIFIER = "identifier"
    """Names one person, such as an e-mail address: stored as a pseudonym, in no model or report."""
    QUASI_IDENTIFIER = "quasi_identifier"
    """Names a person together with others, such as an age: shown for large groups only."""
    SENSITIVE = "sensitive"
    """Says what a person would not tell, such as a diagnosis: no feature unless it is named."""


class _FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PseudonymSettings(_FrozenModel):
    """Where the keys of the pseudonyms are; never the keys themselves."""

    variable: str = Field(
        DEFAULT_VARIABLE,
        pattern=r"^[A-Z][A-Z0-9_]*SECRET$",
        description="Environment variable with the keys, oldest first, separated by commas; its "
        "name ends with SECRET, by which its value is masked in messages",
    )
    block: str | None = Field(
        None,
        description="Name of the Prefect Secret block with the keys; flows and commands read it "
        "where the environment variable is not set",
    )


class PrivacySettings(_FrozenModel):
    """What is stored and shown of people."""

    pseudonyms: PseudonymSettings | None = Field(
        None,
        description="Store keyed pseudonyms (HMAC-SHA-256) instead of user ids; {} reads the keys "
        f"from ${DEFAULT_VARIABLE}. None stores the ids of the source",
    )
    h3_resolution: int | None = Field(
        None,
        ge=0,
        le=15,
        description="Resolution of the H3 cell at whose centre coordinates of events and requests "
        "are stored; the edge of a cell is about 1.4 km long at 7 and 0.5 km at 8",
    )
    time_resolution_min: int | None = Field(
        None,
        ge=1,
        le=MINUTES_PER_DAY,
        description="Minutes to which times of events are rounded down, on the clocks of their "
        "users: 60 stores the hour, 1440 the day. A divisor of a day",
    )
    min_group_users: int = Field(
        1,
        ge=1,
        description="Users that a group needs to be shown: in reports, and an item to be "
        "recommended to users who have not had it",
    )
    retain_days: float | None = Field(
        None,
        gt=0,
        description="Days after which events, refused rows, logged answers and predictions are "
        "removed from all stores. None keeps them",
    )
    opt_out_file: Path | None = Field(
        None,
        description="Text file, relative to data_dir, with one id a line of users who object: "
        "read by every ingestion, in addition to those whom `chronotope consent` names",
    )
    columns: dict[str, ColumnClass] = Field(
        default_factory=dict,
        description="Class of columns of the events and users: identifier, quasi_identifier or "
        "sensitive",
    )
    sensitive_features: tuple[str, ...] = Field(
        (), description="Sensitive columns that may become features of models all the same"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        resolution = self.time_resolution_min
        if resolution is not None and MINUTES_PER_DAY % resolution:
            raise ValueError(
                f"time_resolution_min: {resolution} minutes do not divide a day; write 15, 60, 1440"
            )
        stray_names = [
            name
            for name in self.sensitive_features
            if self.columns.get(name) is not ColumnClass.SENSITIVE
        ]
        if stray_names:
            raise ValueError(
                f"sensitive_features: {stray_names} are not classified as sensitive under columns"
            )
        return self

    @property
    def hides_texts(self) -> bool:
        """Whether text that could not be split into columns may say more than may be stored."""
        return (self.pseudonyms, self.h3_resolution, self.time_resolution_min) != (None, None, None)

    @property
    def identifiers(self) -> frozenset[str]:
        """Columns that name one person."""
        return frozenset(
            name
            for name, column_class in self.columns.items()
            if column_class is ColumnClass.IDENTIFIER
        )

    @property
    def no_features(self) -> frozenset[str]:
        """Columns that no model may read: identifiers, and sensitive ones that are not named."""
        sensitive = {
            name
            for name, column_class in self.columns.items()
            if column_class is ColumnClass.SENSITIVE
        }
        return self.identifiers | (sensitive - set(self.sensitive_features))

    @property
    def features_key(self) -> str:
        """Part of the key of a feature snapshot; empty if every column may be a feature."""
        left_out = ",".join(sorted(self.no_features))
        return f",left_out={left_out}" if left_out else ""
