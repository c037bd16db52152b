"""What a kind of content is worth for the predictions of later time."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

LEAST_COLD_WORTH: Final = 0.001
"""Reciprocal rank at items without events for which a kind of content is kept: less is not felt."""


class WorthInterval(BaseModel):
    """Reciprocal rank lost when the vectors of the items are shuffled, with its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(description="Mean over the targets")
    low: float = Field(description="Lower end of the interval")
    high: float = Field(description="Upper end of the interval")


class ModalityWorth(BaseModel):
    """What a kind of content is worth for the predictions of later time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    modality: str = Field(description="Kind of content, such as text")
    all_items: WorthInterval = Field(description="At all targets")
    cold_items: WorthInterval | None = Field(
        description="At targets that were treated as items without events; None if there are none"
    )

    @property
    def helps(self) -> bool:
        """Whether it helps at all targets, or by ``LEAST_COLD_WORTH`` at items without events."""
        is_worth_cold = self.cold_items is not None and self.cold_items.low > LEAST_COLD_WORTH
        return self.all_items.low > 0 or is_worth_cold

    def by_label(self) -> dict[str, WorthInterval]:
        """The measured intervals by what they are measured at."""
        intervals = {"all items": self.all_items, "items without events": self.cold_items}
        return {label: interval for label, interval in intervals.items() if interval is not None}

    def metrics(self) -> dict[str, float]:
        """The intervals by names of metrics."""
        return {
            f"{self.modality}_{label.replace(' ', '_')}_rr_lost{end}": value
            for label, interval in self.by_label().items()
            for end, value in (
                ("", interval.value),
                ("_low", interval.low),
                ("_high", interval.high),
            )
        }
