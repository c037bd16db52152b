"""Judged in blocks, elsewhere, models do to the last bit as when judged at once."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from chronotope.contracts.event_log import EventLog, Int64
from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events, read_items
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from chronotope.metrics import EvaluationResult, evaluate
from chronotope.metrics.evaluator import BATCH_SIZE
from chronotope.models.baselines import FirstOrderMarkov, baselines
from chronotope.pipelines import evaluate_blocks
from chronotope.pipelines.evaluate_blocks import evaluate_baselines, evaluate_bundle
from chronotope.pipelines.process_cache import cached_bundle, cached_features, process_cache
from chronotope.runtime.engine import Engine, LocalEngine
from chronotope.splitting.targets import targets_between
from tests.runtime.engine.elsewhere import Elsewhere

CITY = """
name: town
description: A small city by the law of the simulated one.
licence: CC0-1.0
event_type: check_in
items_are_places: true
city: {n_events: 3000, n_users: 30, n_items: 40, days: 60, seed: 3}
"""


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("town")
    (folder / "town.yaml").write_text(CITY)
    town = load_spec(str(folder / "town.yaml"))
    events = normalise(town, next(iter(read_events(town, batch_rows=10_000)))).rows
    config = FeaturesConfig(items_are_places=True)
    return build_features(events, read_items(town), config=config, out=folder / "features").path


def cut(log: EventLog) -> tuple[int, Int64]:
    """A moment, and targets after it: several batches and a rest."""
    until_s = int(np.quantile(log.occurred_s, 0.6))
    targets = targets_between(log, until_s, int(log.occurred_s.max()))
    assert len(targets) > 3 * BATCH_SIZE
    return until_s, targets


def assert_equal(found: EvaluationResult, wanted: EvaluationResult) -> None:
    for field in fields(EvaluationResult):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(wanted, field.name))


@pytest.mark.parametrize("engine", [LocalEngine(), Elsewhere()], ids=["here", "there"])
def test_a_bundle_in_blocks_is_the_bundle_at_once(
    engine: Engine, features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, catalog = load_features(features)
    until_s, targets = cut(log)
    model = FirstOrderMarkov().fit(log.before(until_s), catalog)  # its ranks tell queries apart
    monkeypatch.setattr(evaluate_blocks, "cached_bundle", lambda _: model)
    monkeypatch.setattr(evaluate_blocks, "N_BLOCK", BATCH_SIZE)
    with process_cache():
        found = evaluate_bundle(engine, features, Path("bundle"), log, targets)
    wanted = evaluate(model, log, targets, n_items=catalog.n_items, time_given=True)
    assert len(np.unique(wanted.rank)) > 10
    assert_equal(found, wanted)


def test_rivals_elsewhere_are_the_rivals_here(features: Path) -> None:
    log, catalog = load_features(features)
    until_s, targets = cut(log)
    with process_cache():
        found = evaluate_baselines(Elsewhere(), features, log, until_s, targets)
    assert list(found) == [rival.name for rival in baselines(has_baskets=False)]
    known = log.before(until_s)
    for rival in baselines(has_baskets=False):
        fitted = rival.fit(known, catalog)
        wanted = evaluate(fitted, log, targets, n_items=catalog.n_items, time_given=True)
        assert_equal(found[rival.name], wanted)


def test_nothing_stays_in_memory_behind_the_block(features: Path) -> None:
    with process_cache():
        assert cached_features(features) is cached_features(features)
    assert (cached_features.cache_info().currsize, cached_bundle.cache_info().currsize) == (0, 0)
