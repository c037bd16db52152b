"""Publication of a drift report: HTML page, Parquet table and MLflow run."""

from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from chronotope.contracts.drift_report import DriftCheck, DriftReport
from chronotope.contracts.escaping import markdown_text
from chronotope.registry.mlflow_store import RunTracker, open_store
from chronotope.report.drift_page import render_drift
from chronotope.report.page import write_page
from chronotope.runtime.workspace import Workspace

KEPT: Final = "monitor"
"""Step whose result is everything found."""


def publish_report(found: DriftReport, folder: Path, workspace: Workspace) -> tuple[Path, str]:
    """Write page and table into a folder, and log both and all numbers to MLflow.

    Args:
        found: What was found.
        folder: Where it is kept.
        workspace: Where MLflow's store lies.

    Returns:
        The page, and the run that holds it, tagged with the champion's version.
    """
    page = write_page(render_drift(found), folder / "drift.html")
    pq.write_table(found.table(), folder / "checks.parquet")
    store = open_store(workspace.mlruns)
    tags = {"dataset": found.dataset, "data_version": found.data_version, "drift": found.verdict}
    if found.champion is not None:
        tags["model_version"] = found.champion
    with store.run(found.dataset, f"monitor {folder.name}", tags=tags) as tracker:
        _log(tracker, found)
        tracker.artifact(page)
        tracker.note(drift_summary(found))
        return page, tracker.run_id


def drift_reason(check: DriftCheck) -> str:
    """One drift as a sentence."""
    usual = "" if check.usual is None else f", expected {check.usual:.3g}"
    beyond = "" if check.threshold is None else f", threshold {check.threshold:.3g}"
    told = f"{check.part}: {check.name} ({check.statistic}) is {check.value:.3g}"
    return f"{told}{usual}{beyond} (p {check.p_value:.2g})"


def drift_summary(found: DriftReport) -> str:
    """Verdict with its reasons and the checks that could not be evaluated, as Markdown."""
    lines = [*found.reasons, *found.notes]
    if found.is_old and found.champion_age_days is not None:
        lines.append(f"champion {found.champion} is stale: {found.champion_age_days:.1f} days old")
    listed = "\n".join(f"- {markdown_text(line)}" for line in lines)
    window = f"{found.window_start:%Y-%m-%d %H:%M} to {found.window_end:%Y-%m-%d %H:%M} UTC"
    return f"**{markdown_text(found.dataset)}, {window}: {found.verdict}.**\n\n{listed}".rstrip()


def _log(tracker: RunTracker, found: DriftReport) -> None:
    checks = {f"{c.part}/{c.name}/{c.statistic}": c.value for c in found.checks}
    tracker.metrics({**checks, "n_drifted": float(len(found.reasons))})
    for step, row in enumerate(found.windows):
        tracker.metrics({f"stream/{name}": of for name, of in row.metrics.items()}, step=step)
