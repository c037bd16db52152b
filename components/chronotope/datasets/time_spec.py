"""Schema of the time format in a dataset's YAML."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from chronotope.contracts.errors import ConfigError
from chronotope.datasets.values.time_patterns import compile_pattern
from chronotope.spacetime.time_zones import AMBIGUOUS_ZONES, zone


class TimeKind(StrEnum):
    """Encoding of the time column."""

    TIMESTAMP = "timestamp"
    """A timestamp or date column, or ISO 8601 text, with or without an offset."""
    EPOCH_S = "epoch_s"
    """Seconds since 1970-01-01 UTC."""
    EPOCH_MS = "epoch_ms"
    """Milliseconds since 1970-01-01 UTC."""
    EPOCH_US = "epoch_us"
    """Microseconds since 1970-01-01 UTC."""
    EPOCH_NS = "epoch_ns"
    """Nanoseconds since 1970-01-01 UTC."""
    STRPTIME = "strptime"
    """Text in the format of ``TimeSpec.pattern``."""
    DAYS = "days"
    """Days since ``TimeSpec.origin``, negative before it."""
    HOURS = "hours"
    """Hours since ``TimeSpec.origin``."""
    MINUTES = "minutes"
    """Minutes since ``TimeSpec.origin``."""
    SECONDS = "seconds"
    """Seconds since ``TimeSpec.origin``."""


EPOCH_UNITS_NS: Final = {
    TimeKind.EPOCH_S: 1_000_000_000,
    TimeKind.EPOCH_MS: 1_000_000,
    TimeKind.EPOCH_US: 1_000,
    TimeKind.EPOCH_NS: 1,
}
"""Units of the kinds that count from 1970, nanoseconds."""

RELATIVE_UNITS_NS: Final = {
    TimeKind.DAYS: 86_400_000_000_000,
    TimeKind.HOURS: 3_600_000_000_000,
    TimeKind.MINUTES: 60_000_000_000,
    TimeKind.SECONDS: 1_000_000_000,
}
"""Units of the kinds that count from ``TimeSpec.origin``, nanoseconds."""


class FrozenModel(BaseModel):
    """Immutable pydantic model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _no_number(yaml_value: object) -> object:
    """YAML reads +10:00 without quotes as the number 600."""
    if isinstance(yaml_value, int | float):
        raise ValueError(  # noqa: TRY004 - pydantic reports it with the field's name
            'write it in quotes, such as "+10:00" or "2014-10-01"'
        )
    return yaml_value


class TimeSpec(FrozenModel):
    """Conversion of the time column to UTC instants."""

    kind: TimeKind = Field(
        default=TimeKind.TIMESTAMP,
        description="Encoding of the time column: timestamp (timestamps, dates or ISO 8601 text), "
        "epoch_s (seconds since 1970), epoch_ms, epoch_us, epoch_ns, strptime (text in pattern), "
        "or days, hours, minutes or seconds since origin",
    )
    timezone: Annotated[str, BeforeValidator(_no_number)] = Field(
        default="UTC",
        description="Time zone of times without an offset: an IANA name such as Europe/Vienna, or "
        "an offset such as UTC+8 or +08:00",
    )
    pattern: str | tuple[str, ...] | None = Field(
        default=None,
        description="strptime format of the texts, such as %d.%m.%Y %H:%M, or a list of formats "
        "tried in order, of which ISO8601 is one; only for kind strptime",
    )
    origin: Annotated[datetime, BeforeValidator(_no_number)] | None = Field(
        default=None,
        description="Date or time from which days, hours, minutes or seconds are counted, on the "
        "clocks of timezone; only for these kinds",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        zone(self.timezone)
        if (self.kind is TimeKind.STRPTIME) != bool(self.patterns):
            raise ValueError(
                "time.pattern is required with time.kind strptime and not allowed with other kinds"
            )
        if (self.kind in RELATIVE_UNITS_NS) != (self.origin is not None):
            raise ValueError(
                "time.origin is required with time.kind days, hours, minutes and seconds, and not "
                "allowed with other kinds"
            )
        for pattern in self.patterns:
            self._check_abbreviation(pattern)
        return self

    def _check_abbreviation(self, pattern: str) -> None:
        """Refuse a pattern whose text names an ambiguous zone, unless ``timezone`` explains it."""
        abbreviation = compile_pattern(pattern)[0].abbreviation
        if abbreviation is not None and "timezone" not in self.model_fields_set:
            raise ConfigError(
                f"time.pattern names the zone {abbreviation}, which is ambiguous",
                received=pattern,
                way_out=f"Set time.timezone to what it stands for: {AMBIGUOUS_ZONES[abbreviation]}",
            )

    @property
    def patterns(self) -> tuple[str, ...]:
        """Formats of the texts, in the order in which they are tried."""
        if self.pattern is None:
            return ()
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern
