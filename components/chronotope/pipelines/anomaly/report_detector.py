"""Report of a training of an anomaly detector."""

from pathlib import Path

from chronotope.pipelines.anomaly.evaluate_detector import CANDIDATE
from chronotope.pipelines.anomaly.results import DetectorEvaluation, DetectorSearch
from chronotope.pipelines.anomaly.settings import AnomalySettings
from chronotope.pipelines.results import PromotionResult
from chronotope.registry.mlflow_store import RunTracker, open_store
from chronotope.report.anomaly_page import AnomalyReport, DetectorRow, render_anomaly_report
from chronotope.report.page import write_page


def write_anomaly_report(
    dataset: str,
    settings: AnomalySettings,
    search: DetectorSearch,
    evaluation: DetectorEvaluation,
    promotion: PromotionResult,
) -> Path:
    """Write the HTML report, and store it with the detector's MLflow run.

    Args:
        dataset: Name of the dataset.
        settings: Alert budget, and folder of the reports.
        search: Chosen detector.
        evaluation: Metrics on the holdout.
        promotion: Decision of the gate.
    """
    report = anomaly_report(dataset, settings, search, evaluation, promotion)
    report_path = settings.workspace.reports() / f"{dataset}-anomaly.html"
    report_path.parent.mkdir(parents=True, exist_ok=True)
    write_page(render_anomaly_report(report), report_path)
    mlflow_store = open_store(settings.workspace.mlruns)
    RunTracker(mlflow_store.client, promotion.run_id).artifact(report_path, folder="report")
    return report_path


def anomaly_report(
    dataset: str,
    settings: AnomalySettings,
    search: DetectorSearch,
    evaluation: DetectorEvaluation,
    promotion: PromotionResult,
) -> AnomalyReport:
    """Content of the report; arguments as above."""
    labels_text = (
        "labels of the log"
        if evaluation.labels == "given"
        else f"planted account takeovers, {settings.planted_share:.1%} of the events"
    )
    detector_order = [CANDIDATE, *(name for name in evaluation.metrics if name != CANDIDATE)]
    return AnomalyReport(
        dataset=dataset,
        facts=(
            f"version {promotion.version} of {promotion.name}",
            f"{evaluation.n_events:,} events, {evaluation.n_anomalies:,} anomalies",
            labels_text,
        ),
        verdict="champion" if promotion.promoted else "stays challenger",
        is_promoted=promotion.promoted,
        reasons=promotion.reasons,
        detectors=[
            DetectorRow(
                f"{name} ({search.detector})" if name == CANDIDATE else name,
                (
                    evaluation.metrics[name].auroc,
                    evaluation.metrics[name].average_precision,
                    evaluation.metrics[name].alert_precision,
                ),
            )
            for name in detector_order
        ],
        roc=[(point.false_alarm_rate, point.recall) for point in evaluation.curve],
        precision_recall=[(point.recall, point.precision) for point in evaluation.curve],
        budgets={point.alerts_per_day: point.precision for point in evaluation.budgets},
        notes={
            "threshold, -log p": f"{evaluation.threshold:.2f}",
            "false alarms, at most": f"{settings.false_alarm_rate:.2%} of the genuine events, "
            f"with {settings.threshold_confidence:.0%} confidence",
            "recall beyond it": f"{evaluation.recall_at_threshold:.1%}",
            "lead time before the first label": "none"
            if evaluation.lead_time_h is None
            else f"{evaluation.lead_time_h:.0f} h",
            "average precision on the folds": ", ".join(f"{v:.3f}" for v in search.fold_values),
            "parameters": ", ".join(f"{name} {value}" for name, value in search.params.items()),
        },
    )
