"""A study on two nodes with its stores in Postgres finds what it finds on one machine."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events, read_items
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from chronotope.pipelines.evaluate_blocks import evaluate_baselines
from chronotope.pipelines.results import SearchResult
from chronotope.pipelines.search import freeze_folds
from chronotope.pipelines.search_parameters import search_parameters
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.engine import EngineConfig, LocalEngine, open_engine
from chronotope.runtime.store_urls import MLFLOW_URL, OPTUNA_URL
from chronotope.runtime.workspace import Workspace
from chronotope.splitting.targets import targets_between
from tests.postgres import Postgres, postgres
from tests.runtime.engine.cluster import SHAPE, two_nodes

pytestmark = pytest.mark.slow
DEADLINE_S = 600
N_TRIALS, N_FOLDS = 8, 3
CITY = """
name: town
description: A small city by the law of the simulated one.
licence: CC0-1.0
event_type: check_in
items_are_places: true
city: {n_events: 1500, n_users: 20, n_items: 30, days: 60, seed: 3}
"""


def settings(root: Path, **engine: object) -> TrainSettings:
    told: dict[str, Any] = {
        "root": root,
        "engine": engine,
        "study": {"n_trials": N_TRIALS, "batch": 4, "n_startup_trials": 4},
        "folds": {"k": N_FOLDS},
        "model": {"history_len": 8},
        "training": {"max_epochs": 1, "n_rounds": 1, "batch_size": 64, "max_targets": 200},
        "backbones": ["none"],
        "max_fold_targets": 100,
    }
    return TrainSettings.model_validate(told)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("town")
    (folder / "town.yaml").write_text(CITY)
    town = load_spec(str(folder / "town.yaml"))
    events = normalise(town, next(iter(read_events(town, batch_rows=10_000)))).rows
    config = FeaturesConfig(items_are_places=True)
    return build_features(events, read_items(town), config=config, out=folder / "features").path


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as (cluster, _):
        yield cluster


@pytest.fixture(scope="module")
def found_here(features: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the study finds in one process, its stores on disk."""
    return tuned(features, settings(tmp_path_factory.mktemp("here")), "here")


@pytest.fixture
def stores(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    """The environment names databases."""
    for variable, name in {MLFLOW_URL: "mlflow", OPTUNA_URL: "optuna"}.items():
        monkeypatch.setenv(variable, server.url(name))
    return server


def tuned(features: Path, told: TrainSettings, name: str) -> SearchResult:
    run = Workspace(told.root).runs("town") / name
    freeze_folds(features, told, run)
    return search_parameters(features, told, run)


def assert_same(there: SearchResult, here: SearchResult) -> None:
    assert there.params == here.params
    assert there.trial_number == here.trial_number
    assert there.mean_ndcg == pytest.approx(here.mean_ndcg, rel=1e-6)
    assert there.fold_ndcg["challenger"] == pytest.approx(here.fold_ndcg["challenger"], rel=1e-6)


def test_two_nodes_find_the_same_best_trial(
    features: Path, found_here: dict[str, Any], cluster: Any, stores: Postgres, tmp_path: Path
) -> None:
    told = settings(tmp_path, kind="ray", address=cluster.address)
    assert_same(tuned(features, told, "there"), found_here)
    assert trials(stores, "there") == N_TRIALS
    # the study, its trials and their folds
    query = "SELECT status, count(*) FROM runs GROUP BY status"
    assert stores.rows("mlflow", query) == [("FINISHED", 1 + N_TRIALS + N_TRIALS * N_FOLDS)]
    assert not list(tmp_path.rglob("*.db"))


def test_a_node_killed_half_way_changes_nothing(
    features: Path, found_here: dict[str, Any], cluster: Any, stores: Postgres, tmp_path: Path
) -> None:
    victim = cluster.add_node(**SHAPE)
    told = settings(tmp_path, kind="ray", address=cluster.address)
    with ThreadPoolExecutor(1) as pool:
        study = pool.submit(tuned, features, told, "killed")
        wait_until(lambda: study.done() or trials(stores, "killed") >= 4)
        assert not study.done()
        cluster.remove_node(victim, allow_graceful=False)
        assert_same(study.result(DEADLINE_S), found_here)
    assert trials(stores, "killed") == N_TRIALS


def test_baselines_on_two_nodes_do_as_here(features: Path, cluster: Any) -> None:
    log, _ = load_features(features)
    until_s, last_s = int(np.quantile(log.occurred_s, 0.7)), int(log.occurred_s.max())
    targets = targets_between(log, until_s, last_s)
    here = evaluate_baselines(LocalEngine(), features, log, until_s, targets)
    with open_engine(EngineConfig(kind="ray", address=cluster.address)) as engine:
        there = evaluate_baselines(engine, features, log, until_s, targets)
    assert list(there) == list(here)
    for name, found in there.items():
        np.testing.assert_array_equal(found.rank, here[name].rank)


def trials(server: Postgres, study: str) -> int:
    """Trials of a study that are complete, as the database says."""
    if not server.rows("optuna", "SELECT 1 FROM pg_tables WHERE tablename = 'trials'"):
        return 0
    query = "SELECT count(*) FROM trials JOIN studies USING (study_id) WHERE state = 'COMPLETE'"
    return int(server.rows("optuna", f"{query} AND study_name = '{study}'")[0][0])


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.1)
