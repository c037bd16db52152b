"""The whole flow on a tiny city: a judged version, things to look at, nothing done twice."""

from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
from prefect.utilities.callables import parameter_schema

from chronotope.pipelines.results import PromotionResult, RegisteredVersion
from chronotope.pipelines.settings import TrainSettings
from chronotope.registry.mlflow_store import MlflowStore, open_store
from flows import without_heartbeat
from flows.ingest_events import IngestSettings
from flows.train_model import promotion_markdown, train_model
from tests.flows.artifacts import shown_of
from tests.plugin_package import TRENDING, install_package

YAML = """
name: tiny_city
description: A small city by the law of the simulated one.
licence: CC0-1.0
event_type: check_in
items_are_places: true
city: {n_events: 4000, n_users: 60, n_items: 40, days: 60, seed: 3}
"""


def tiny(root: Path) -> TrainSettings:
    told = {
        "root": root,
        "study": {"n_trials": 1},
        "folds": {"k": 1},
        "model": {"history_len": 16},
        "training": {"max_epochs": 2, "n_rounds": 2, "batch_size": 64},
        "compression": {"variants": ["int8_tables"], "pruned_units": 0.0},
        "max_fold_targets": 100,
        "max_holdout_targets": 200,
    }
    return TrainSettings.model_validate(told)


def written(root: Path) -> dict[Path, int]:
    """When each file of the trainings and of MLflow's artifacts was last written."""
    files = [*root.glob("data/runs/**/*"), *root.glob("mlruns/artifacts/**/*")]
    return {path: path.stat().st_mtime_ns for path in files if path.is_file()}


def assert_tracked(store: MlflowStore, promoted: RegisteredVersion) -> None:
    """The version has its card, an example that can be asked, and its run's lineage."""
    version = store.client.get_model_version("tiny_city", promoted.version)
    assert version.description.startswith("# Model card: chronotope on tiny")
    run = store.client.get_run(promoted.run_id)
    assert {"data_version", "features", "folds", "settings"} <= set(run.data.tags)
    assert [of.dataset.name for of in run.inputs.dataset_inputs] == ["tiny_city"]
    kept = {file.path for file in store.client.list_artifacts(run.info.run_id, "report")}
    assert {"report/report.html", "report/card.md", "report/metrics.json"} < kept
    plots = {file.path for file in store.client.list_artifacts(run.info.run_id, "report/plots")}
    assert {f"report/plots/front_{cost}.svg" for cost in ("size", "latency")} < plots
    model = mlflow.pyfunc.load_model(version.source)
    assert len(model.predict(model.input_example)) == 2


@pytest.mark.slow
def test_a_city_is_trained_once_and_can_be_looked_at(
    prefect: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_package(tmp_path / "site", TRENDING, monkeypatch)
    city, settings = tmp_path / "tiny_city.yaml", tiny(tmp_path)
    city.write_text(YAML)
    with without_heartbeat():
        first = train_model(str(city), settings, IngestSettings(root=tmp_path))
        before = written(tmp_path)
        again = train_model(str(city), settings, IngestSettings(root=tmp_path))
    assert again.promotion == first.promotion
    assert {path: at for path, at in written(tmp_path).items() if before.get(path) != at} == {}
    page = first.report.report.read_text(encoding="utf-8")
    assert all(heading in page for heading in ("Folds", ">Where</h2>", "Ingest events", "95 %"))
    assert "trending" in page
    assert first.search.fold_ndcg["trending"]
    assert first.evaluation.metrics["trending"]["ndcg_10"] > 0
    holdout_file = next(tmp_path.glob("data/runs/**/holdout.npz"))
    assert "trending" in np.load(holdout_file)  # the gate compares with each of these
    assert_tracked(open_store(tmp_path / "mlruns"), first.promotion)
    told = {f"train-tiny-city{each}" for each in ("", "-card", "-report", "-mlflow")}
    told |= {"compress-tiny-city"}
    assert shown_of(told) == told


def test_every_parameter_of_the_form_has_its_help() -> None:
    schema = parameter_schema(train_model).model_dump()
    models = schema["definitions"].items()
    fields = {(n, field): told for n, of in models for field, told in of["properties"].items()}
    assert len(fields) > 50
    assert [name for name, told in fields.items() if not told.get("description")] == []
    assert all(told["description"] for told in schema["properties"].values())


def test_the_verdict_says_why_not() -> None:
    about = {"name": "city", "version": "3", "run_id": "r", "promoted": False, "previous": None}
    told = PromotionResult.model_validate(about | {"reasons": ["too slow", "too big"]})
    words = promotion_markdown(told)
    assert "Version 3 of `city` stays challenger" in words
    assert words.endswith("- too slow\n- too big")
    assert "is the champion" in promotion_markdown(
        told.model_copy(update={"promoted": True, "reasons": ()})
    )
