"""Flow ``monitor-drift``: drift of data, predictions and outcomes, with an event on drift."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.events import emit_event
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.data_version import DataVersion
from chronotope.contracts.drift_report import DriftReport
from chronotope.contracts.escaping import markdown_rows
from chronotope.datasets.loading import load_spec
from chronotope.lake import Lake
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.monitor import MonitoredState, monitor, report_key
from chronotope.monitoring.publish import MONITOR_STEP, drift_summary, publish_report
from chronotope.pipelines.results import FeatureSnapshot
from chronotope.runtime.step_cache import run_step
from chronotope.runtime.workspace import Workspace
from flows.ingest_events import TASK, IngestSettings, write_features
from flows.link_runs import mlflow_run_url
from flows.watch_interactions import dataset_resource

DRIFTED: Final = "drift.detected"
"""Name of the event that starts the feedback flow on drift."""


class MonitoringResult(BaseModel):
    """Result of the flow ``monitor-drift``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(description="Name of the dataset")
    report: DriftReport | None = Field(
        None, description="Checks and verdict; None if the lake contains no events"
    )
    folder: Path | None = Field(None, description="Folder of the report")
    is_new: bool = Field(
        False, description="Whether this run created the report; otherwise an earlier run did"
    )


@flow(name="monitor-drift", result_serializer="json")
def monitor_drift(
    dataset: str,
    monitoring: MonitorConfig = MonitorConfig(),  # noqa: B008 - frozen
    ingestion: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
) -> MonitoringResult:
    """Compare the newest window with earlier ones, publish a report, and emit an event on drift.

    The same data, champion and log are measured and published once; a run that was killed
    resumes after its last finished step.

    Args:
        dataset: Name of a file in conf/datasets, or path of such a YAML file.
        monitoring: Length of the windows, and confidence of an alarm.
        ingestion: Location of the data, project root and noise filter.
    """
    dataset_name = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir).name
    root_workspace = Workspace(ingestion.root)
    if not Lake(root_workspace.lake(dataset_name)).exists("events"):
        return MonitoringResult(dataset=dataset_name)
    feature_snapshot = write_features(dataset, ingestion)
    folder, report, is_new = measure_drift(
        dataset_name, feature_snapshot, monitoring, ingestion.root
    )
    publish_drift(report, folder, ingestion.root)
    notify_drift(report, folder)
    return MonitoringResult(dataset=dataset_name, report=report, folder=folder, is_new=is_new)


def read_monitored_state(
    dataset: str, feature_snapshot: FeatureSnapshot, monitoring: MonitorConfig, root: Path
) -> MonitoredState:
    """Input of the monitoring: the snapshot, the champion and the interaction log.

    Args:
        dataset: Name of the dataset.
        feature_snapshot: Result of ``write_features``.
        monitoring: Length of the windows, and confidence of an alarm.
        root: Project root.
    """
    return MonitoredState(
        dataset=dataset,
        workspace=Workspace(root),
        features=feature_snapshot.path,
        data_version=DataVersion.parse(feature_snapshot.data_version),
        config=monitoring,
        now=datetime.now(UTC),
    )


@task(**TASK)
def measure_drift(
    dataset: str, feature_snapshot: FeatureSnapshot, monitoring: MonitorConfig, root: Path
) -> tuple[Path, DriftReport, bool]:
    """Measure drift, once for the same data, champion, log and settings.

    Args:
        dataset: Name of the dataset.
        feature_snapshot: Result of ``write_features``.
        monitoring: Length of the windows, and confidence of an alarm.
        root: Project root.

    Returns:
        Folder of the report, the report, and whether this run created it.
    """
    monitored_state = read_monitored_state(dataset, feature_snapshot, monitoring, root)
    folder = monitored_state.workspace.monitoring(dataset) / report_key(monitored_state)
    if monitoring.force:
        shutil.rmtree(folder, ignore_errors=True)
    is_new = not (folder / f"{MONITOR_STEP}.json").exists()
    return folder, run_step(folder, MONITOR_STEP, DriftReport, monitor, monitored_state), is_new


@task(**TASK)
def publish_drift(report: DriftReport, folder: Path, root: Path) -> None:
    """Write the HTML page, log the report to MLflow, and create Prefect artifacts.

    Args:
        report: Result of ``monitor``.
        folder: Folder of the report.
        root: Project root.
    """
    run_step(folder, "publish_drift", str, _publish, report, folder, Workspace(root))


@task(**TASK)
def notify_drift(report: DriftReport, folder: Path) -> None:
    """Emit the event ``drift.detected`` with the reasons, once per report, if there is drift.

    Args:
        report: Result of ``monitor``.
        folder: Folder of the report.
    """
    get_run_logger().info("%s: %s %s", report.dataset, report.verdict, list(report.reasons))
    if report.verdict == "drift":
        run_step(folder, "notify_drift", str, emit_drift_event, report)


def emit_drift_event(report: DriftReport) -> str:
    """Emit the event ``drift.detected`` for the dataset's resource.

    Args:
        report: Report with the reasons.

    Returns:
        Name of the event.
    """
    event_resource = {
        "prefect.resource.id": dataset_resource(report.dataset),
        "prefect.resource.name": report.dataset,
    }
    event_payload = {
        "reasons": list(report.reasons),
        "data_version": report.data_version,
        "champion": report.champion,
        "window_end": report.window_end.isoformat(),
    }
    emit_event(DRIFTED, event_resource, payload=event_payload)
    return DRIFTED


def _publish(report: DriftReport, folder: Path, root_workspace: Workspace) -> str:
    page_path, run_id = publish_report(report, folder, root_workspace)
    artifact_key = f"drift-{report.dataset.replace('_', '-')}"
    create_markdown_artifact(
        drift_summary(report), key=f"{artifact_key}-verdict", description="Verdict on drift"
    )
    table_rows = [drift_check.model_dump(exclude_none=True) for drift_check in report.checks]
    create_table_artifact(
        markdown_rows(table_rows), key=artifact_key, description="Checks with their thresholds"
    )
    create_link_artifact(
        page_path.resolve().as_uri(), link_text="Drift page", key=f"{artifact_key}-page"
    )
    run_url = mlflow_run_url(root_workspace, run_id)
    create_link_artifact(run_url, link_text="MLflow run", key=f"{artifact_key}-mlflow")
    return run_id
