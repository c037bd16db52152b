"""Schema of the time format in a dataset's YAML."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chronotope.spacetime.clock import zone


class TimeKind(StrEnum):
    """Encoding of the time column."""

    TIMESTAMP = "timestamp"
    """A timestamp or date column, or ISO 8601 text, with or without an offset."""
    EPOCH_S = "epoch_s"
    """Seconds since 1970-01-01 UTC."""
    EPOCH_MS = "epoch_ms"
    """Milliseconds since 1970-01-01 UTC."""
    STRPTIME = "strptime"
    """Text in the format of ``TimeSpec.pattern``."""


class FrozenModel(BaseModel):
    """Immutable pydantic model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeSpec(FrozenModel):
    """Conversion of the time column to UTC instants."""

    kind: TimeKind = Field(
        default=TimeKind.TIMESTAMP,
        description="Encoding of the time column: timestamp (timestamps, dates or ISO 8601 text), "
        "epoch_s (seconds since 1970), epoch_ms (milliseconds) or strptime (text in pattern)",
    )
    timezone: str = Field(
        default="UTC",
        description="IANA time zone of times without an offset, such as Europe/Vienna",
    )
    pattern: str | None = Field(
        default=None,
        description="strptime format of the texts, such as %d.%m.%Y %H:%M; only for kind strptime",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        zone(self.timezone)
        if (self.kind is TimeKind.STRPTIME) != (self.pattern is not None):
            raise ValueError(
                "time.pattern is required with time.kind strptime and not allowed with other kinds"
            )
        return self
