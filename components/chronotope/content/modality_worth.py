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
        worth_intervals = {"all items": self.all_items, "items without events": self.cold_items}
        return {
            interval_label: worth_interval
            for interval_label, worth_interval in worth_intervals.items()
            if worth_interval is not None
        }

    def metrics(self) -> dict[str, float]:
        """The intervals by names of metrics."""
        return {
            f"{self.modality}_{interval_label.replace(' ', '_')}_rr_lost{interval_end}": end_value
            for interval_label, worth_interval in self.by_label().items()
            for interval_end, end_value in (
                ("", worth_interval.value),
                ("_low", worth_interval.low),
                ("_high", worth_interval.high),
            )
        }
