"""A head over few items, a planted promotion, and one that is known too late."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from chronotope.artifact.bundle import Manifest
from chronotope.artifact.onnx_recommender import OnnxRecommender, open_session
from chronotope.compression.export import export_onnx
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.item_context import ItemContextColumn
from chronotope.contracts.queries import queries_at
from chronotope.metrics import evaluate
from chronotope.models.config import ModelConfig
from chronotope.splitting.targets import targets_between
from chronotope.training.config import TrainingConfig
from chronotope.training.embedding_transfer import transfer_network
from chronotope.training.recommender import ChronotopeRecommender
from tests.models.item_context.planted import log_of


@lru_cache(maxsize=2)
def trained(delay_s: int) -> tuple[ChronotopeRecommender, EventLog, Catalog, np.ndarray]:
    """Model that was trained on both columns, and later targets."""
    log, catalog = log_of(delay_s)
    cut_s = int(np.quantile(log.occurred_s, 0.8))
    model = ChronotopeRecommender(
        ModelConfig(item_context=("promo", "noise"), history_len=16, kernel_len=8, n_hidden=4),
        TrainingConfig(
            max_epochs=6, learning_rate=0.1, n_rounds=2, batch_size=64, new_user_queries=0
        ),
    )
    model.fit(log.before(cut_s), catalog)
    targets = targets_between(log, cut_s, int(log.occurred_s.max()) + 1)
    return model, log, catalog, targets


def top_1(delay_s: int) -> float:
    """Share of later targets that are ranked first."""
    model, log, catalog, targets = trained(delay_s)
    ranks = evaluate(model, log, targets, n_items=catalog.n_items, time_given=True).rank
    return float((ranks == 1).mean())


def test_a_known_promotion_is_read() -> None:
    assert top_1(-60) > 0.6


def test_a_promotion_of_the_future_scores_at_chance() -> None:
    # chance is 1 in 30; the interval of 320 random targets reaches .07
    assert top_1(1) < 0.08


def test_a_column_without_worth_is_dropped() -> None:
    model, *_ = trained(-60)
    worth = {column.name: column for column in model.item_context_worth}
    assert worth["promo"].low > 0
    assert worth["promo"].helps
    assert model.net.config.item_context == model.model.item_context == ("promo",)
    head = model.net.item_context_head
    assert head is not None
    assert head.is_read[:, 0].tolist() == [0.0, 1.0, 0.0]


def test_without_worth_in_any_column_the_head_is_left_out() -> None:
    model, *_ = trained(1)
    assert model.net.item_context_head is None
    assert model.item_context == ()


def test_a_stored_model_scores_alike(tmp_path: Path) -> None:
    model, log, catalog, targets = trained(-60)
    model.save(tmp_path / "model.pt")
    stored = ChronotopeRecommender.load(tmp_path / "model.pt", catalog)
    queries = queries_at(log, targets[:8], history_len=16, time_given=True)
    np.testing.assert_array_equal(stored.scores(queries), model.scores(queries))


def test_levels_keep_their_weights_in_another_catalogue() -> None:
    model, _, catalog, _ = trained(-60)
    moved = (
        ItemContextColumn(name="promo", first=1, levels=("0", "a"), default="no"),
        ItemContextColumn(name="noise", first=3, levels=("x",), default="no"),
    )
    net = transfer_network(model.net, catalog, replace(catalog, item_context=moved))
    assert net.item_context_head is not None
    assert model.net.item_context_head is not None
    weights, old_weights = (
        head.level_weights.detach() for head in (net.item_context_head, model.net.item_context_head)
    )
    torch.testing.assert_close(weights[2], old_weights[1])
    lift_weights = (net.item_context_head.lift_weights, model.net.item_context_head.lift_weights)
    torch.testing.assert_close(*lift_weights)


@pytest.mark.slow
def test_the_graph_scores_as_the_network(tmp_path: Path) -> None:
    model, log, _, targets = trained(-60)
    export_onnx(model.net, model.priors, tmp_path / "model.onnx")
    manifest = Manifest(
        name="m",
        dataset="d",
        data_version="events@0.00000000",
        history_len=16,
        item_context=model.item_context,
        trained_until_s=0,
        digests={},
    )
    exported = OnnxRecommender(open_session(tmp_path, n_threads=1), manifest)
    queries = queries_at(log, targets[:8], history_len=16, time_given=True)
    np.testing.assert_allclose(exported.scores(queries), model.scores(queries), atol=1e-4)
    no_rows = replace(queries, context_item_idx=None, context_levels=None)
    np.testing.assert_allclose(exported.scores(no_rows), model.scores(no_rows), atol=1e-4)
    assert not np.allclose(exported.scores(no_rows), exported.scores(queries))
