"""A successor is judged after its champion's training, and learns on only where it fits."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from chronotope.contracts.errors import NotEnoughData
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from chronotope.models.config import ModelConfig
from chronotope.pipelines.retrain import (
    cold_start_reason,
    freeze_later_folds,
    later_folds,
    n_new_training_events,
    trained_parameters,
)
from chronotope.pipelines.search import starting_point
from chronotope.pipelines.settings import TrainSettings
from chronotope.splitting.folds import load_folds
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender
from tests.damage import flipped

HOUR = 3_600


def snapshot(
    root: Path, n: int = 1_000, *, n_items: int = 7, more: str = "", category: str = "a"
) -> Path:
    """An event an hour by ten users over seven items."""
    items = [f"i{k % n_items}" for k in range(n - 1)] + [more or "i0"]
    at = pa.array([k * HOUR * 1_000_000 for k in range(n)], pa.timestamp("us", tz="UTC"))
    plain = {"event_id": [f"e{k}" for k in range(n)], "item_id": items, "event_type": ["x"] * n}
    plain |= {"user_id": [f"u{k % 10}" for k in range(n)], "category": [category] * n}
    table = pa.table({**plain, "occurred_at": at})
    return build_features(table, None, config=FeaturesConfig(), out=root).path


def teach(features: Path, trained: Path) -> None:
    """Keep a small network of the snapshot's catalogue."""
    short = TrainingConfig(max_epochs=1, max_targets=100)
    model = ChronotopeRecommender(ModelConfig(backbone="none", n_components=2), short)
    model.fit(*load_features(features)).save(trained)


@pytest.mark.parametrize(
    ("until", "start"), [(500, 899), (899, 900), (950, 951)], ids=["earlier", "at", "later"]
)
def test_the_holdout_is_later_than_the_champions_training(
    tmp_path: Path, until: int, start: int
) -> None:
    features, run = snapshot(tmp_path), tmp_path / "run"
    freeze_later_folds(features, TrainSettings(), run, until * HOUR)
    folds = load_folds(run / "frozen_folds.json")
    assert (
        folds.holdout.test_start_s
        == folds.holdout.train_end_s
        == pytest.approx(start * HOUR, abs=HOUR)
    )
    assert folds.holdout.train_end_s > until * HOUR


def test_without_anything_later_there_is_nothing_to_judge_on(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughData, match="evaluate a challenger"):
        freeze_later_folds(snapshot(tmp_path), TrainSettings(), tmp_path / "run", 995 * HOUR)


@pytest.mark.parametrize("until", [-1, 500, 898, 899, 900, 950])
def test_what_teaches_is_what_a_retraining_adds(tmp_path: Path, until: int) -> None:
    features, run = snapshot(tmp_path), tmp_path / "run"
    freeze_later_folds(features, TrainSettings(), run, until * HOUR)
    end = load_folds(run / "frozen_folds.json").holdout.train_end_s
    added = [k for k in range(1_000) if until < k and k * HOUR < end]
    log, _ = load_features(features)
    folds = later_folds(log, TrainSettings(), until * HOUR)
    assert n_new_training_events(log, folds, until * HOUR) == len(added)


def test_a_network_learns_on_unless_much_is_new(tmp_path: Path) -> None:
    then, trained = snapshot(tmp_path), tmp_path / "model.pt"

    def why(now: Path, then: Path) -> str:
        return cold_start_reason(load_features(now)[1], then, trained)

    assert "not stored" in why(then, then)
    teach(then, trained)
    assert "not stored" in why(then, tmp_path / "gone")
    assert why(snapshot(tmp_path, 1_100), then) == ""
    assert why(snapshot(tmp_path, more="new"), then) == "1 of 8 items are new"
    assert why(snapshot(tmp_path, category="b"), then) == "1 of 1 categories are new"
    many, fewer = snapshot(tmp_path, n_items=30), snapshot(tmp_path, more="new")
    teach(many, trained)
    assert why(snapshot(tmp_path, n_items=30, more="new"), many) == ""
    teach(fewer, trained)
    assert why(then, fewer) == ""


def test_a_network_that_this_version_does_not_build_is_trained_anew(tmp_path: Path) -> None:
    then, trained = snapshot(tmp_path), tmp_path / "model.pt"
    teach(then, trained)
    kept = torch.load(trained, weights_only=True)
    older = {name: tensor for name, tensor in kept["net"].items() if "kernels" not in name}
    assert len(older) < len(kept["net"])
    torch.save(kept | {"net": older}, trained)
    assert "does not build" in cold_start_reason(load_features(then)[1], then, trained)
    torch.save({name: part for name, part in kept.items() if name != "priors"}, trained)
    assert "damaged" in cold_start_reason(load_features(then)[1], then, trained)
    trained.write_bytes(b"torn")
    assert "damaged" in cold_start_reason(load_features(then)[1], then, trained)


def test_a_changed_tensor_or_snapshot_is_no_start(tmp_path: Path) -> None:
    then, trained = snapshot(tmp_path), tmp_path / "model.pt"
    teach(then, trained)
    catalog = load_features(then)[1]
    assert cold_start_reason(catalog, then, trained) == ""
    with flipped(trained, trained.stat().st_size // 2):
        assert "network is damaged" in cold_start_reason(catalog, then, trained)
    with flipped(then / "items.parquet", 40):
        assert "data that it was trained on are damaged" in cold_start_reason(
            catalog, then, trained
        )


def test_parameters_are_taken_over_from_a_search_or_a_successor(tmp_path: Path) -> None:
    settings = TrainSettings()

    def keep(step: str, result: dict[str, Any]) -> None:
        (tmp_path / f"{step}.json").write_text(json.dumps({"result": result}))

    assert trained_parameters(tmp_path, settings) == starting_point(settings)
    keep("inherit_parameters", {"params": {"n_hidden": 8}})
    assert trained_parameters(tmp_path, settings) == {"n_hidden": 8}
    search = {"mean_ndcg": 0.1, "trial_number": 0, "fold_ndcg": {}}
    keep("search_parameters", {"params": {"n_hidden": 9}, **search})
    keep("select_context_columns", {"selected": ["rain"], "columns": []})
    assert trained_parameters(tmp_path, settings) == {"n_hidden": 9, "context": ["rain"]}
