"""Watch data, predictions and their outcome; drift is told to whoever listens."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.events import emit_event
from prefect.runtime import flow_run

from chronotope.contracts.data_version import DataVersion
from chronotope.contracts.drift_report import DriftReport
from chronotope.contracts.escaping import markdown_rows
from chronotope.datasets.loading import load_spec
from chronotope.lake import Lake
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.drift_text import drift_summary
from chronotope.monitoring.monitor import MonitoredState, monitor, report_key
from chronotope.monitoring.publish import KEPT, publish_report
from chronotope.registry.run_links import link_run
from chronotope.runtime.step_cache import run_step
from chronotope.runtime.workspace import Workspace
from flows.ingest_events import TASK, IngestSettings, write_features
from flows.link_runs import DEFAULT_UI, MLFLOW_UI
from flows.watch_interactions import dataset_resource

DRIFTED: Final = "drift.detected"
"""Event whose arrival starts the feedback flow, whoever emits it."""

EMPTY: Final = {
    "verdict": "not enough history",
    "reasons": [],
    "notes": ["the lake holds no events"],
}


@flow(name="monitor-drift", result_serializer="json")
def monitor_drift(
    dataset: str,
    monitoring: MonitorConfig = MonitorConfig(),  # noqa: B008 - frozen
    ingestion: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Compare the newest window with what was usual, show it, and tell of drift.

    The same data, champion and log are measured, shown and told of once; a run that was killed
    goes on after its last finished step.

    Args:
        dataset: Name of a file in conf/datasets, or the path of such a YAML file.
        monitoring: How time is cut and how sure an alarm has to be.
        ingestion: Where data are, and what is noise; its root is where everything lies.

    Returns:
        The fields of ``DriftReport``, ``folder`` where they are kept, and ``new``: whether they
        were found by this run.
    """
    name = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir).name
    workspace = Workspace(ingestion.root)
    if not Lake(workspace.lake(name)).exists("events"):
        return {"dataset": name, "new": False, **EMPTY}
    features = write_features(dataset, ingestion)
    found = measure_drift(name, features, monitoring, ingestion.root)
    publish_drift(found, ingestion.root)
    notify_drift(found)
    return found


def read_monitored_state(
    dataset: str, features: dict[str, Any], monitoring: MonitorConfig, root: Path
) -> MonitoredState:
    """What is watched.

    Args:
        dataset: Name of the dataset.
        features: What ``write_features`` returned.
        monitoring: How.
        root: Project root.
    """
    return MonitoredState(
        dataset=dataset,
        workspace=Workspace(root),
        features=Path(features["path"]),
        data_version=DataVersion.parse(features["data_version"]),
        config=monitoring,
        now=datetime.now(UTC),
    )


@task(**TASK)
def measure_drift(
    dataset: str, features: dict[str, Any], monitoring: MonitorConfig, root: Path
) -> dict[str, Any]:
    """Measure and judge, once for the same data, champion, log and settings.

    Args:
        dataset: Name of the dataset.
        features: What ``write_features`` returned.
        monitoring: How.
        root: Project root.
    """
    subject = read_monitored_state(dataset, features, monitoring, root)
    folder = subject.workspace.monitoring(dataset) / report_key(subject)
    if monitoring.force:
        shutil.rmtree(folder, ignore_errors=True)
    is_new = not (folder / f"{KEPT}.json").exists()
    found = run_step(folder, KEPT, lambda: monitor(subject).model_dump(mode="json"))
    return {**found, "folder": str(folder), "new": is_new}


@task(**TASK)
def publish_drift(found: dict[str, Any], root: Path) -> None:
    """Write the page, log to MLflow, and make the artifacts.

    Args:
        found: What ``measure_drift`` returned.
        root: Project root.
    """
    folder, kept = Path(found["folder"]), parse_drift_report(found)
    run_step(folder, "publish_drift", lambda: _shown(kept, folder, Workspace(root)))


@task(**TASK)
def notify_drift(found: dict[str, Any]) -> None:
    """Emit ``drift.detected`` with the reasons, once, if the verdict says so.

    Args:
        found: What ``measure_drift`` returned.
    """
    get_run_logger().info("%s: %s %s", found["dataset"], found["verdict"], found["reasons"])
    if found["verdict"] == "drift":
        run_step(
            Path(found["folder"]),
            "notify_drift",
            lambda: emit_drift_event(parse_drift_report(found)),
        )


def emit_drift_event(found: DriftReport) -> str:
    """Emit the event for the dataset's resource; returns its name.

    Args:
        found: What was found.
    """
    resource = {
        "prefect.resource.id": dataset_resource(found.dataset),
        "prefect.resource.name": found.dataset,
    }
    payload = {
        "reasons": list(found.reasons),
        "data_version": found.data_version,
        "champion": found.champion,
        "window_end": found.window_end.isoformat(),
    }
    emit_event(DRIFTED, resource, payload=payload)
    return DRIFTED


def parse_drift_report(found: dict[str, Any]) -> DriftReport:
    """What ``measure_drift`` returned, as the value it was.

    Args:
        found: What ``measure_drift`` returned.
    """
    told = {name: value for name, value in found.items() if name not in {"folder", "new"}}
    return DriftReport.model_validate(told)


def _shown(found: DriftReport, folder: Path, workspace: Workspace) -> str:
    page, run_id = publish_report(found, folder, workspace)
    key = f"drift-{found.dataset.replace('_', '-')}"
    create_markdown_artifact(drift_summary(found), key=f"{key}-verdict", description="Drift or not")
    rows = [check.model_dump(exclude_none=True) for check in found.checks]
    create_table_artifact(
        markdown_rows(rows), key=key, description="Each check beside what is usual"
    )
    create_link_artifact(page.resolve().as_uri(), link_text="Drift page", key=f"{key}-page")
    shown = link_run(workspace, run_id, str(flow_run.ui_url or ""))
    address = f"{os.environ.get(MLFLOW_UI, DEFAULT_UI)}/{shown}"
    create_link_artifact(address, link_text="MLflow run", key=f"{key}-mlflow")
    return run_id
