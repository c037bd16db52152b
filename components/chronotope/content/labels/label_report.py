"""Counts of the classification of a catalogue."""

from pydantic import BaseModel, ConfigDict, Field


class ColumnLabelReport(BaseModel):
    """Labels of one column; ``n_items == n_given + n_predicted + n_missing``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str = Field(description="Column whose missing values are predicted")
    classifier: str = Field("", description="Digest of the classifier")
    min_confidence: float | None = Field(
        None, description="Confidence from which a label is used; None if none is precise enough"
    )
    n_items: int = Field(0, ge=0, description="Items of the catalogue")
    n_given: int = Field(0, ge=0, description="Items whose label the catalogue has")
    n_predicted: int = Field(0, ge=0, description="Items whose predicted label is used")
    n_missing: int = Field(0, ge=0, description="Items without a label")
    n_classified: int = Field(
        0, ge=0, description="New and changed items that were classified in this run"
    )
    reasons: dict[str, int] = Field(
        default_factory=dict, description="Number of items without a label by reason"
    )
    metrics: dict[str, float] = Field(
        default_factory=dict, description="Metrics of the classifier on held-back labels"
    )
    skipped: str = Field("", description="Why nothing was classified; empty if it was")
    run_id: str = Field("", description="MLflow run of the training, if there was one")


class LabelSummary(BaseModel):
    """Result of the flow ``classify-items``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(description="Name of the dataset")
    columns: tuple[ColumnLabelReport, ...] = Field((), description="Counts by column")
