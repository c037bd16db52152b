"""Publication of a drift report: HTML page, Parquet table and MLflow run."""

from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from chronotope.contracts.drift_report import DriftCheck, DriftReport
from chronotope.contracts.escaping import markdown_text
from chronotope.inference.interval_levels import IntervalLevels, write_interval_levels
from chronotope.registry.mlflow_store import RunTracker, open_store
from chronotope.report.drift_page import render_drift
from chronotope.report.page import write_page
from chronotope.runtime.workspace import Workspace

MONITOR_STEP: Final = "monitor"
"""Name of the step whose result is the drift report."""


def publish_report(
    drift_report: DriftReport, output_dir: Path, root_workspace: Workspace
) -> tuple[Path, str]:
    """Write the report as HTML page and Parquet table, and log page and metrics to MLflow.

    The levels of the served time interval become those of the report.

    Args:
        drift_report: Report to publish.
        output_dir: Folder of page and table.
        root_workspace: Workspace that contains the MLflow store.

    Returns:
        Path of the page, and id of the MLflow run, which is tagged with the champion's version.
    """
    publish_interval_levels(drift_report, root_workspace)
    page_path = write_page(render_drift(drift_report), output_dir / "drift.html")
    pq.write_table(drift_report.table(), output_dir / "checks.parquet")
    mlflow_store = open_store(root_workspace.mlruns)
    run_tags = {
        "dataset": drift_report.dataset,
        "data_version": drift_report.data_version,
        "drift": drift_report.verdict,
    }
    if drift_report.champion is not None:
        run_tags["model_version"] = drift_report.champion
    with mlflow_store.run(
        drift_report.dataset, f"monitor {output_dir.name}", tags=run_tags
    ) as run_tracker:
        _log(run_tracker, drift_report)
        run_tracker.artifact(page_path)
        run_tracker.note(drift_summary(drift_report))
        return page_path, run_tracker.run_id


def drift_reason(drift_check: DriftCheck) -> str:
    """Describe a check that found drift, in one sentence."""
    expected_text = "" if drift_check.usual is None else f", expected {drift_check.usual:.3g}"
    threshold_text = (
        "" if drift_check.threshold is None else f", threshold {drift_check.threshold:.3g}"
    )
    check_text = f"{drift_check.part}: {drift_check.name} ({drift_check.statistic})"
    statistic_text = f"{check_text} is {drift_check.value:.3g}"
    return f"{statistic_text}{expected_text}{threshold_text} (p {drift_check.p_value:.2g})"


def drift_summary(drift_report: DriftReport) -> str:
    """Summary of a report as Markdown: status, reasons, and checks that were not evaluated."""
    statements = [*drift_report.reasons, *drift_report.notes]
    if drift_report.is_old and drift_report.champion_age_days is not None:
        statements.append(
            f"champion {drift_report.champion} is stale: "
            f"{drift_report.champion_age_days:.1f} days old"
        )
    item_list = "\n".join(f"- {markdown_text(statement)}" for statement in statements)
    start, end = drift_report.window_start, drift_report.window_end
    window_text = f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    heading = f"**{markdown_text(drift_report.dataset)}, {window_text}: {drift_report.verdict}.**"
    return f"{heading}\n\n{item_list}".rstrip()


def publish_interval_levels(drift_report: DriftReport, root_workspace: Workspace) -> None:
    """Store the levels of the served time interval."""
    if drift_report.champion is None or drift_report.interval_levels is None:
        return
    low, high = drift_report.interval_levels
    levels = IntervalLevels(champion=drift_report.champion, low=low, high=high)
    write_interval_levels(root_workspace, drift_report.dataset, levels)


def _log(run_tracker: RunTracker, drift_report: DriftReport) -> None:
    check_values = {
        f"{drift_check.part}/{drift_check.name}/{drift_check.statistic}": drift_check.value
        for drift_check in drift_report.checks
    }
    run_tracker.metrics({**check_values, "n_drifted": float(len(drift_report.reasons))})
    for window_step, window_row in enumerate(drift_report.windows):
        run_tracker.metrics(
            {
                f"stream/{metric_name}": metric_value
                for metric_name, metric_value in window_row.metrics.items()
            },
            step=window_step,
        )
