"""A training with a budget: no step learns from exact events, and the version says the budget."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from chronotope.artifact.open_bundle import open_bundle
from chronotope.contracts.errors import ConfigError
from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events, read_items
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from chronotope.models.transfer.checkpoint import shipped_checkpoint
from chronotope.pipelines.compress import compress_model, without_training
from chronotope.pipelines.retrain import warm_start
from chronotope.pipelines.search import freeze_folds
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.train import train_final_model, train_privately
from chronotope.pipelines.trust.config import PrivacyConfig, budget_text, privacy_tags
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.recommender import ChronotopeRecommender

PRIVATE = PrivacyConfig(epsilon=3.0, delta=1e-6)


def test_the_budget_is_a_tag_and_a_sentence() -> None:
    assert privacy_tags(PRIVATE) == {"privacy_epsilon": "3", "privacy_delta": "1e-06"}
    assert "epsilon 3 and delta 1e-06" in budget_text(PRIVATE)
    assert not budget_text(PRIVATE).startswith(" ")
    assert privacy_tags(PrivacyConfig()) == {}
    assert budget_text(PrivacyConfig()) == ""


def test_noisy_steps_are_named_and_need_a_budget() -> None:
    stepped = PrivacyConfig.model_validate({"epsilon": 3, "training": {"steps": 20}})
    assert privacy_tags(stepped)["privacy_steps"] == "20"
    assert "20 steps of training have together epsilon 3" in budget_text(stepped)
    with pytest.raises(ValidationError, match=r"need a budget: set privacy\.epsilon"):
        PrivacyConfig.model_validate({"training": {"steps": 20}})


def test_no_compression_of_a_private_model_trains() -> None:
    private = without_training(TrainSettings(privacy=PRIVATE)).compression
    assert (private.pruned_units, private.student, private.n_trials) == (0.0, False, 0)
    assert without_training(TrainSettings()) == TrainSettings()


def test_a_private_training_needs_a_budget(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a budget"):
        train_privately(sample_log(), sample_catalog(), TrainSettings(), tmp_path)


@pytest.mark.slow
def test_from_noisy_counts_to_a_bundle_and_again_in_a_warm_start(tmp_path: Path) -> None:
    city = load_spec("simulated_city")
    events = normalise(city, next(iter(read_events(city, batch_rows=6_000)))).rows
    config = FeaturesConfig(items_are_places=True)
    ref = build_features(events, read_items(city), config=config, out=tmp_path / "features")
    settings = TrainSettings.model_validate(
        {
            "root": tmp_path,
            "privacy": {**PRIVATE.model_dump(), "training": {"steps": 2, "sample_rate": 0.1}},
            "folds": {"k": 1},
            "model": {"history_len": 32},
            "compression": {"variants": ["int8_tables"], "n_runs": 10},
            "max_fold_targets": 100,
        }
    )
    run = tmp_path / "data" / "runs" / "city" / "one"
    freeze_folds(ref.path, settings, run)
    trained = train_final_model(ref.path, settings, run, {"backbone": "gru"})
    _, catalog = load_features(ref.path)
    model = ChronotopeRecommender.load(trained, catalog)
    assert not model.priors.neighbour_weight.any()
    assert model.net.backbone is None
    start = shipped_checkpoint().parameters["gate.2.bias"]
    assert not model.net.state_dict()["gate.2.bias"].equal(start)  # two noisy steps
    summary = compress_model(ref.path, settings, run, trained, "1")
    assert not any("student" in row.name or "pruned" in row.name for row in summary.candidates)
    assert open_bundle(summary.bundle).history_len == 32
    before = model.priors.popularity
    again = warm_start(ref.path, run, trained, ref.path, settings)
    after = ChronotopeRecommender.load(again, catalog).priors
    assert not after.neighbour_weight.any()
    assert not after.popularity.equal(before)  # another release
