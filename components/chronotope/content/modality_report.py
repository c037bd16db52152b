"""Counts of the encoding of a catalogue."""

from pydantic import BaseModel, ConfigDict, Field

from chronotope.content.encoder import Modality
from chronotope.content.summaries.summary_report import SummaryReport


class ModalityReport(BaseModel):
    """Result of encoding one modality; ``n_items == n_encoded + n_unchanged + n_missing``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    modality: Modality = Field(description="Kind of content")
    encoder: str = Field("", description="Name of the encoder and digest of its weights")
    dim: int = Field(0, ge=0, description="Length of a vector")
    n_items: int = Field(0, ge=0, description="Items of the catalogue")
    n_encoded: int = Field(0, ge=0, description="New and changed items that were encoded")
    n_unchanged: int = Field(0, ge=0, description="Items that had this vector already")
    n_missing: int = Field(0, ge=0, description="Items without a vector")
    reasons: dict[str, int] = Field(
        default_factory=dict, description="Number of items without a vector by reason"
    )
    examples: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="The first item_ids of each reason"
    )
    encode_s: float = Field(0.0, ge=0, description="Seconds spent in reading and encoding")
    skipped: str = Field("", description="Why the modality was left out; empty if it was not")

    @property
    def items_per_s(self) -> float:
        """Items encoded in a second; 0 if there was none."""
        return self.n_encoded / self.encode_s if self.n_encoded else 0.0


class EmbeddingSummary(BaseModel):
    """Result of the flow ``embed-items``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(description="Name of the dataset")
    modalities: tuple[ModalityReport, ...] = Field((), description="Counts by kind of content")
    summaries: SummaryReport | None = Field(
        None, description="Counts of the summaries; None if the YAML asks for none"
    )


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
        """Whether one of the intervals lies above zero."""
        return any(interval.low > 0 for interval in self.by_label().values())

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
