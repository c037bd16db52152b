"""Search of a pretraining: later time of every log decides, and a killed search resumes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chronotope.contracts.event_log import EventLog
from chronotope.pipelines.pretraining import search
from chronotope.pipelines.pretraining.results import PretrainingSource
from chronotope.pipelines.pretraining.search import (
    TransferObjective,
    pretraining_folds,
    search_pretraining,
    searched_settings,
)
from chronotope.pipelines.pretraining.settings import PretrainSettings
from chronotope.registry.mlflow_store import open_store
from chronotope.testing.recommender_suite import sample_catalog, sample_log


def settings(root: Path = Path(), n_trials: int = 2) -> PretrainSettings:
    training = {"max_epochs": 1, "n_rounds": 2, "batch_size": 64, "discovery_targets": 0}
    return PretrainSettings.model_validate(
        {
            "root": root,
            "model": {"history_len": 16, "content": False},
            "training": training,
            "study": {"n_trials": n_trials},
            "trial_targets": 200,
            "max_holdout_targets": 100,
        }
    )


def test_parameters_replace_those_of_the_settings_alone() -> None:
    chosen = searched_settings(settings(), {"learning_rate": 0.02, "balance": 1.0})
    assert (chosen.training.learning_rate, chosen.balance) == (0.02, 1.0)
    assert chosen.training.weight_decay == settings().training.weight_decay
    assert searched_settings(settings(), {}) == settings()


def test_folds_end_before_the_holdout() -> None:
    log = sample_log()
    folds = pretraining_folds(log, settings())
    assert len(folds) == 2
    assert folds[0].test_end_s <= folds[1].test_start_s
    share_before = (log.occurred_s < folds[-1].test_end_s).mean()
    assert share_before == pytest.approx(settings().holdout_quantile, abs=0.02)


class Values:
    """Tracker that keeps the latest value of each metric."""

    run_id = "none"

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        self.latest |= values

    def params(self, values: Mapping[str, object]) -> None: ...

    def artifact(self, path: Path, *, folder: str = "") -> None: ...


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> dict[str, EventLog]:
    """Two logs by the name of their snapshot; a test may replace them."""
    stored = {"east": sample_log(), "west": sample_log(seed=1)}
    monkeypatch.setattr(search, "load_features", lambda path: (stored[path.name], sample_catalog()))
    return stored


def sources() -> tuple[PretrainingSource, ...]:
    return tuple(
        PretrainingSource(
            dataset=name, features=Path(name), data_version="1", n_events=1, n_users=1, n_items=1
        )
        for name in ("east", "west")
    )


def test_the_value_is_the_mean_over_the_logs_and_later_events_do_not_count(
    logs: dict[str, EventLog],
) -> None:
    tracker, objective = Values(), TransferObjective(sources(), settings())
    params = {"learning_rate": 0.01, "weight_decay": 0.01, "balance": 0.5}
    value = objective(params, 0, tracker)
    by_log = [tracker.latest[f"{name}/ndcg_10"] for name in logs]
    assert value == pytest.approx(np.mean(by_log))
    assert 0 < value < 1
    for name, log in logs.items():
        is_later = log.occurred_s >= pretraining_folds(log, settings())[0].test_end_s
        assert is_later.any()
        logs[name] = replace(log, item_idx=np.where(is_later, 1, log.item_idx).astype(np.int32))
    assert objective(params, 0, tracker) == pytest.approx(value, abs=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("logs")
def test_trials_are_runs_and_a_finished_search_is_read_again(tmp_path: Path) -> None:
    first = search_pretraining(sources(), settings(tmp_path), tmp_path / "run")
    assert set(first.params) == {"learning_rate", "weight_decay", "balance"}
    assert first.mean_ndcg == pytest.approx(np.mean(first.fold_ndcg))
    store = open_store(tmp_path / "mlruns")
    (experiment,) = store.client.search_experiments(filter_string="name = 'pretrained-network'")
    n_runs = len(store.client.search_runs([experiment.experiment_id]))
    assert n_runs >= 1 + 2 + 2 * 2  # the study, its trials, their folds
    assert search_pretraining(sources(), settings(tmp_path), tmp_path / "run") == first
    assert len(store.client.search_runs([experiment.experiment_id])) <= n_runs + 1
