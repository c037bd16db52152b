"""The flow over two tiny cities: registered once with both logs; a training starts from it."""

from pathlib import Path

import pytest

from chronotope.pipelines.pretraining.settings import PretrainSettings
from chronotope.pipelines.pretraining.start import zero_shot_settings
from chronotope.pipelines.results import RegisteredVersion
from chronotope.pipelines.settings import TrainSettings
from chronotope.registry.mlflow_store import open_store
from flows import without_heartbeat
from flows.ingest_events import IngestSettings
from flows.pretrain_model import pretrain_model
from flows.train_model import train_model

CITY = """
name: {name}
description: A small city.
licence: CC0-1.0
event_type: check_in
items_are_places: true
city: {{n_events: 2000, n_users: 40, n_items: 30, days: 60, seed: {seed}}}
"""


def city(folder: Path, name: str, seed: int) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(CITY.format(name=name, seed=seed), encoding="utf-8")
    return str(path)


def settings(root: Path) -> PretrainSettings:
    training = {"max_epochs": 1, "n_rounds": 2, "batch_size": 64, "max_targets": 400}
    return PretrainSettings.model_validate(
        {
            "root": root,
            "model": {"history_len": 16, "content": False},
            "training": training | {"discovery_targets": 0},
            "max_holdout_targets": 100,
        }
    )


def zero_shot(root: Path, registered: RegisteredVersion) -> TrainSettings:
    started = {"init": f"mlflow:/{registered.name}/{registered.version}"}
    return zero_shot_settings(
        TrainSettings.model_validate(
            {
                "root": root,
                "training": started,
                "model": {"history_len": 16},
                "max_fold_targets": 100,
                "max_holdout_targets": 200,
                "compression": {"n_runs": 10, "max_latency_ms": 10_000},
            }
        )
    )


@pytest.mark.slow
def test_two_logs_become_one_model_and_another_log_starts_from_it(
    prefect: None, tmp_path: Path
) -> None:
    root, ingestion = tmp_path / "root", IngestSettings(data_docs=False)
    names = [city(tmp_path, "east", 1), city(tmp_path, "west", 2)]
    with without_heartbeat():
        first = pretrain_model(names, settings(root), ingestion)
        again = pretrain_model([*names, names[0]], settings(root), ingestion)
        trained = train_model(
            city(tmp_path, "south", 3), zero_shot(root, first.registered), ingestion
        )
    assert again == first  # a log that is named twice counts once
    assert [source.dataset for source in first.sources] == ["east", "west"]
    store = open_store(root / "mlruns")
    run = store.client.get_run(first.registered.run_id)
    assert {of.dataset.name for of in run.inputs.dataset_inputs} == {"east", "west"}
    assert run.data.metrics["east/pretrained/mrr"] > 0
    version = store.client.get_model_version(first.registered.name, first.registered.version)
    assert "| west | CC0-1.0 |" in version.description
    assert trained.search.params["init"].startswith("mlflow:/")
    assert trained.promotion.name == "south"
    assert trained.evaluation.metrics["challenger"]["mrr"] > 0
