"""The flow on a city with planted drift: shown, told once, and a second run does nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from chronotope.contracts.drift_report import DriftReport
from chronotope.inference.interval_levels import forecast_levels
from chronotope.registry.mlflow_store import open_store
from chronotope.runtime.workspace import Workspace
from flows import monitor_drift as module
from flows import without_heartbeat
from flows.ingest_events import IngestSettings
from flows.monitor_drift import DRIFTED, MonitoringResult, monitor_drift
from flows.watch_interactions import dataset_resource
from tests.flows.artifacts import shown_of
from tests.inference.hand_made import register_twice
from tests.monitoring.city import SMALL, YAML, settle

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Events in the order they were emitted."""
    told: list[tuple[Any, ...]] = []
    keep = lambda event, resource, payload: told.append((event, resource, payload))  # noqa: E731
    monkeypatch.setattr(module, "emit_event", keep)
    return told


def watched(root: Path, **config: Any) -> MonitoringResult:
    (root / "city.yaml").write_text(YAML)
    with without_heartbeat():
        settings = IngestSettings(root=root, data_docs=False)
        told = SMALL.model_copy(update=config)
        found: MonitoringResult = monitor_drift(str(root / "city.yaml"), told, settings)
    return found


def files(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_planted_drift_is_shown_and_told_once(
    tmp_path: Path, emitted: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(tmp_path, shifted=True)
    register_twice(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(module, "publish_report", failing)
        with pytest.raises(ZeroDivisionError):
            watched(tmp_path)
    assert emitted == []
    found = watched(tmp_path)  # goes on after what was measured
    assert found.report is not None
    assert (found.report.verdict, found.report.champion, found.is_new) == ("drift", "1", False)
    assert_told(emitted, found.report)
    assert_shown(tmp_path, found)
    before = files(tmp_path / "data" / "monitoring")
    again = watched(tmp_path)
    assert (again.is_new, again.report) == (False, found.report)
    assert len(emitted) == 1
    assert files(tmp_path / "data" / "monitoring") == before
    assert watched(tmp_path, force=True).is_new
    assert len(emitted) == 2


def assert_told(emitted: list[tuple[Any, ...]], found: DriftReport) -> None:
    ((event, resource, payload),) = emitted
    assert (event, resource["prefect.resource.id"]) == (DRIFTED, dataset_resource("city"))
    assert payload["reasons"] == list(found.reasons)
    assert any("hour of day" in why for why in payload["reasons"])
    assert json.loads(json.dumps(payload))["champion"] == "1"


def assert_shown(root: Path, found: MonitoringResult) -> None:
    """A page, artifacts, and a run of MLflow tagged with the version."""
    assert found.report is not None
    assert found.folder is not None
    page = (found.folder / "drift.html").read_text(encoding="utf-8")
    assert all(words in page for words in ("Predictions over time", "hour of day", "<svg"))
    client = open_store(root / "mlruns").client
    experiment = client.get_experiment_by_name("city")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.model_version = '1'")
    assert run.data.tags["drift"] == "drift"
    assert {"data/hour of day/js", "predictions/accuracy/ndcg_10"} <= set(run.data.metrics)
    assert len(client.get_metric_history(run.info.run_id, "stream/ndcg_10")) == len(
        found.report.windows
    )
    levels = forecast_levels(Workspace(root), "city", "1")
    assert tuple(levels[[0, 2]]) == found.report.interval_levels
    told = {f"drift-city{each}" for each in ("", "-verdict", "-page", "-mlflow")}
    assert shown_of(told) == told


def test_a_calm_city_tells_nobody(tmp_path: Path, emitted: list[tuple[Any, ...]]) -> None:
    settle(tmp_path)
    found = watched(tmp_path)
    assert found.report is not None
    assert (found.report.verdict, found.is_new, found.report.champion) == ("no drift", True, None)
    assert emitted == []


def test_an_empty_lake_is_no_failure(tmp_path: Path, emitted: list[tuple[Any, ...]]) -> None:
    found = watched(tmp_path)
    assert (found.report, found.is_new) == (None, False)
    assert (emitted, (tmp_path / "data").exists()) == ([], False)


def failing(*_: object) -> None:
    """A page that cannot be written."""
    raise ZeroDivisionError
