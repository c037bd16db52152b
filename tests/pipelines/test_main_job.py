"""From a feature snapshot to a champion, on the simulated city."""

from pathlib import Path

import pytest

from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events, read_items
from chronotope.features.build import build_features
from chronotope.features.sources import FeaturesConfig
from chronotope.pipelines.compress import compress_model
from chronotope.pipelines.evaluate_holdout import evaluate_holdout
from chronotope.pipelines.promote import promote_version, register_version
from chronotope.pipelines.results import PromotionResult
from chronotope.pipelines.search import freeze_folds
from chronotope.pipelines.search_parameters import search_parameters
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.train import train_final_model
from chronotope.pipelines.trust.results import read_trust
from chronotope.registry.gate import GateConfig
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.promotion import current_champion

pytestmark = pytest.mark.slow


def settings(root: Path) -> TrainSettings:
    return TrainSettings.model_validate(
        {
            "root": root,
            "study": {"n_trials": 1},
            "folds": {"k": 2},
            "model": {"history_len": 32},
            "training": {"max_epochs": 3, "n_rounds": 2, "batch_size": 64, "max_targets": 6_000},
            "compression": {"variants": ["int8_tables"], "pruned_units": 0.0},
            "privacy": {"audit": {"held_out_share": 0.1, "max_users": 40}},
            "max_fold_targets": 300,
            "max_holdout_targets": 600,
        }
    )


def strict(chosen: TrainSettings) -> TrainSettings:
    """A gate that nobody passes."""
    return chosen.model_copy(update={"gate": GateConfig(min_gain=1.0)})


def test_only_a_version_without_objections_becomes_champion(tmp_path: Path) -> None:
    city = load_spec("simulated_city")
    raw = next(iter(read_events(city, batch_rows=15_000)))
    events = normalise(city, raw).rows
    config = FeaturesConfig(items_are_places=True)
    ref = build_features(events, read_items(city), config=config, out=tmp_path / "features")
    chosen, run = settings(tmp_path), tmp_path / "data" / "runs" / "city" / "one"
    assert freeze_folds(ref.path, chosen, run) == freeze_folds(ref.path, chosen, run)
    best = search_parameters(ref.path, chosen, run)
    trained = train_final_model(ref.path, chosen, run, best.params)
    bundle = compress_model(ref.path, chosen, run, trained, "1").bundle
    evaluation = evaluate_holdout(ref.path, chosen, run, bundle)
    metrics = evaluation.metrics
    audit = read_trust(run).membership
    assert audit is not None
    assert len(audit.attacks) == 3
    assert audit.n_members == audit.n_held_out == 40

    def judged(settings: TrainSettings) -> PromotionResult:
        registered = register_version(ref.path, settings, run, bundle, evaluation)
        return promote_version(ref.path, settings, run, bundle, registered)

    said = judged(chosen)
    again = register_version(ref.path, chosen, run, bundle, evaluation)
    assert (
        said.model_copy(update=dict(again)) == said
    )  # as after a kill that kept the step's note from being written
    champion = current_champion(open_store(tmp_path / "mlruns"), "city")
    assert champion == (None if said.reasons else said.version)
    assert metrics["popularity"]["ndcg_10"] < metrics["challenger"]["ndcg_10"] < 0.9
    assert any("does not beat popularity" in reason for reason in judged(strict(chosen)).reasons)
    assert current_champion(open_store(tmp_path / "mlruns"), "city") == champion
