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
