"""A large catalogue without coordinates is compressed to an index, by the usual rule."""

from pathlib import Path

import pyarrow as pa
import pytest

from chronotope.artifact.bundle import INDEX
from chronotope.artifact.indexed_recommender import IndexedRecommender
from chronotope.artifact.open_bundle import open_bundle
from chronotope.compression.config import CompressionConfig
from chronotope.compression.networks import candidate_recipes
from chronotope.compression.recipe import fixed_recipes, indexed_recipes
from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events, read_items
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.pipelines.compress import compress_model
from chronotope.pipelines.search import freeze_folds
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.train import train_final_model
from chronotope.testing.recommender_suite import sample_catalog
from tests.models.test_factorized import plain_catalog

MODEL = {
    "history_len": 32,
    "kernel_len": 8,
    "backbone": "two_tower",
    "backbone_len": 8,
    "d_model": 8,
}
"""The architecture of ``tests/compression/test_export_indexed.py``, which is traced once."""

LARGE = CompressionConfig(index_above_items=20, index_codes=(4, 64))


def test_an_index_is_for_many_items_without_coordinates() -> None:
    net = ChronotopeNet(ModelConfig(history_len=8), plain_catalog())
    assert candidate_recipes(net, LARGE, n_items=21) == indexed_recipes(LARGE)
    assert candidate_recipes(net, LARGE, n_items=20) == fixed_recipes(LARGE, 8)
    placed = ChronotopeNet(ModelConfig(history_len=8), sample_catalog())
    assert candidate_recipes(placed, LARGE, n_items=21) == fixed_recipes(LARGE, 8)


def test_each_number_of_codes_is_tried_in_each_cut_and_with_the_rest() -> None:
    reference, *others = indexed_recipes(LARGE.model_copy(update={"successors": 3}))
    assert reference.n_codes == 0
    tried = [(recipe.n_codes, recipe.rerank, recipe.n_successors) for recipe in others[::2]]
    rows = [(4, 0), (4, 3), (64, 0), (64, 3)]
    assert tried == [(codes, rerank, cut) for rerank in (False, True) for codes, cut in rows]
    assert others[-1].name == "full-top3-index64-rerank-int8_tables"


@pytest.mark.slow
def test_the_index_is_chosen_if_it_answers_alike(tmp_path: Path) -> None:
    city = load_spec("simulated_city")
    raw = next(iter(read_events(city, batch_rows=12_000)))
    nowhere = {"config": FeaturesConfig(), "out": tmp_path / "features"}
    events, items = (without_coordinates(t) for t in (normalise(city, raw).rows, read_items(city)))
    features = build_features(events, items, **nowhere).path
    chosen, run = settings(tmp_path), tmp_path / "data" / "runs" / "city" / "one"
    freeze_folds(features, chosen, run)
    trained = train_final_model(features, chosen, run, {})
    made = compress_model(features, chosen, run, trained, "1")
    tried = {row.name for row in made.candidates} - {"full-float32"}
    assert tried == {recipe.name for recipe in indexed_recipes(chosen.compression)[1:]}
    assert made.meets_objective, made.reason
    bundle = made.bundle
    assert (bundle / INDEX).is_file()
    model = open_bundle(bundle)
    assert isinstance(model, IndexedRecommender)
    _, catalog = load_features(features)
    assert len(model.index) == catalog.n_items - 1


def without_coordinates(rows: pa.Table) -> pa.Table:
    for name in ("lat", "lon"):
        if name in rows.column_names:
            at, nothing = rows.column_names.index(name), pa.nulls(len(rows), pa.float64())
            rows = rows.set_column(at, rows.schema.field(name), nothing)
    return rows


def settings(root: Path) -> TrainSettings:
    return TrainSettings.model_validate(
        {
            "root": root,
            "folds": {"k": 2},
            "model": MODEL,
            "training": {"max_epochs": 2, "n_rounds": 2, "batch_size": 64, "max_targets": 6_000},
            "compression": {"index_above_items": 20, "index_codes": [4, 64], "n_runs": 20},
            "max_fold_targets": 300,
            "max_holdout_targets": 600,
        }
    )
