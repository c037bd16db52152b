"""Counts of the summaries of a catalogue."""

from pydantic import BaseModel, ConfigDict, Field


class SummaryReport(BaseModel):
    """Result of summarising; ``n_items == n_summarised + n_unchanged + n_short``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    writer: str = Field("", description="extractive, or the model of the endpoint, with a digest")
    n_items: int = Field(0, ge=0, description="Items of the catalogue")
    n_summarised: int = Field(0, ge=0, description="New and changed texts that were summarised")
    n_unchanged: int = Field(0, ge=0, description="Items that had this summary already")
    n_short: int = Field(0, ge=0, description="Items whose text is short enough, or missing")
    n_generated: int = Field(0, ge=0, description="Summaries of this run that an endpoint wrote")
    reasons: dict[str, int] = Field(
        default_factory=dict,
        description="Number of replies of the endpoint that were not used, by reason",
    )
    skipped: str = Field("", description="Why nothing was summarised; empty if it was")
