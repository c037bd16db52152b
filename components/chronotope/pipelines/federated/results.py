"""Result of the flow ``federated-train``."""

from pydantic import Field

from chronotope.pipelines.federated.summary import FederationSummary
from chronotope.pipelines.results import (
    CompressionSummary,
    HoldoutEvaluation,
    IngestionSummary,
    PromotionResult,
    StepResult,
    WrittenReport,
)
from chronotope.runtime.step_cache import StepCost


class FederatedResult(StepResult):
    """Result of the flow ``federated-train``."""

    ingestion: IngestionSummary = Field(description="Rows and snapshot of the coordinator")
    federation: FederationSummary = Field(description="Clients, rounds and aggregation")
    compression: CompressionSummary = Field(description="Candidates and selected bundle")
    evaluation: HoldoutEvaluation = Field(description="Metrics on the holdout")
    promotion: PromotionResult = Field(description="Decision of the gate")
    report: WrittenReport = Field(description="Report and model card")
    costs: dict[str, StepCost] = Field(description="Seconds and peak memory by step")
