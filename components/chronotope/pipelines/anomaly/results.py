"""Results of the steps of a training of an anomaly detector."""

from pathlib import Path
from typing import Any

from pydantic import Field

from chronotope.anomalies.config import DetectorName
from chronotope.pipelines.results import PromotionResult, StepResult


class DetectorSearch(StepResult):
    """Detector and parameters with the best average precision on the folds."""

    detector: DetectorName = Field(description="Detector")
    params: dict[str, Any] = Field(description="Its parameters")
    average_precision: float = Field(description="Mean over the folds")
    fold_values: tuple[float, ...] = Field(description="Average precision of each fold")
    labels: str = Field(description="given, or planted: account takeovers in a log without labels")


class DetectorMetrics(StepResult):
    """Metrics of one detector on the holdout."""

    auroc: float = Field(description="Area under the ROC curve")
    average_precision: float = Field(description="Average precision")
    alert_precision: float = Field(description="Share of compromised users among a day's alerts")
    daily_average_precision: tuple[float, ...] = Field(
        description="Average precision of each day that has anomalies"
    )


class CurvePoint(StepResult):
    """What a threshold does on the holdout."""

    false_alarm_rate: float = Field(description="Share of genuine events above it")
    recall: float = Field(description="Share of anomalies above it")
    precision: float = Field(description="Share of anomalies among the events above it")


class BudgetPoint(StepResult):
    """What an alert budget finds on the holdout."""

    alerts_per_day: int = Field(description="Users that are looked at each day")
    precision: float = Field(description="Share of compromised users among them")


class DetectorEvaluation(StepResult):
    """Detector, champion and baselines on the holdout."""

    labels: str = Field(description="given or planted")
    n_events: int = Field(ge=0, description="Events of the holdout that are judged")
    n_anomalies: int = Field(ge=0, description="Anomalies among them")
    threshold: float = Field(description="Surprise beyond which events are flagged")
    recall_at_threshold: float = Field(description="Share of anomalies beyond it")
    lead_time_h: float | None = Field(
        description="Median hours by which the first flagged anomaly of a user precedes the "
        "arrival of the first label; None without any"
    )
    metrics: dict[str, DetectorMetrics] = Field(description="By name; champion and baselines too")
    curve: tuple[CurvePoint, ...] = Field(description="ROC and precision-recall of the detector")
    budgets: tuple[BudgetPoint, ...] = Field(description="Precision by the size of the budget")


class AnomalyTrainingResult(StepResult):
    """Result of the flow ``train-anomaly``."""

    search: DetectorSearch = Field(description="Chosen detector")
    evaluation: DetectorEvaluation = Field(description="Metrics on the holdout")
    promotion: PromotionResult = Field(description="Decision of gate and blessing")
    report: Path = Field(description="HTML report")
