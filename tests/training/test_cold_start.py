"""Scores of items without events: fitted on hidden items, stored, transferred and read again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from chronotope.content.content_axes import project_items
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import IdMap
from chronotope.contracts.queries import queries_at
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import count_priors
from chronotope.models.transfer.network_file import load_tensors, save_tensors
from chronotope.testing.recommender_suite import sample_catalog, sample_content, sample_log
from chronotope.training.cold_start import (
    MAX_COLUMNS,
    ColdStartFit,
    _sample_columns,
    fit_cold_start,
)
from chronotope.training.config import TrainingConfig
from chronotope.training.prequential import PrequentialRound, make_rounds
from chronotope.training.recommender import ChronotopeRecommender

TRAINING = TrainingConfig(max_epochs=1, n_rounds=3, batch_size=64, discovery_targets=0)
MODEL = ModelConfig(history_len=16)
N_KINDS, N_EACH, N_USERS = 4, 30, 150


def tastes() -> tuple[EventLog, Catalog]:
    """Users who each want items of one kind, which only the content shows."""
    rng = np.random.default_rng(0)
    n_items = N_KINDS * N_EACH
    kind = np.arange(n_items) % N_KINDS
    rows = np.eye(N_KINDS, dtype=np.float32)[kind]
    rows += 0.1 * rng.normal(size=rows.shape).astype(np.float32)
    text = np.concatenate([np.zeros((1, N_KINDS), np.float32), rows])
    user_idx = np.repeat(np.arange(1, N_USERS + 1), 40)
    wanted = user_idx % N_KINDS
    item_idx = 1 + wanted + N_KINDS * rng.integers(0, N_EACH, len(user_idx))
    nowhere = np.full(n_items + 1, np.nan)
    catalog = Catalog(
        users=IdMap.of([f"u{n:03d}" for n in range(N_USERS)]),
        items=IdMap.of([f"i{n:03d}" for n in range(n_items)]),
        places=IdMap.of([]),
        categories=IdMap.of([]),
        item_category=np.zeros(n_items + 1, np.int32),
        item_lat=nowhere,
        item_lon=nowhere,
        place_lat=nowhere[:1],
        place_lon=nowhere[:1],
        content=project_items({"text": text}, {"text": "sample@1"}),
    )
    log = EventLog.sorted(
        user_idx=user_idx,
        item_idx=item_idx,
        place_idx=np.zeros_like(item_idx),
        occurred_s=1_600_000_000 + rng.integers(0, 28 * 86_400, len(user_idx)),
    )
    return log, catalog


def fitted(net: ChronotopeNet, log: EventLog, catalog: Catalog) -> ColdStartFit | None:
    rounds, later = make_rounds(log, catalog, TRAINING)
    return fit_cold_start(net, log, catalog, [*rounds, *later], TRAINING)


def test_an_item_without_events_is_shown_to_those_who_like_its_kind() -> None:
    log, catalog = tastes()
    is_hidden = np.arange(catalog.n_items) > catalog.n_items - 1 - N_KINDS  # one of each kind
    past = log.take(~is_hidden[log.item_idx])
    model = ChronotopeRecommender(MODEL, TRAINING).fit(past, catalog)
    head = model.net.content_head
    assert head is not None
    similarity, popularity, _ = head.cold_weights.tolist()
    assert similarity > 0
    assert np.isfinite(popularity)
    last = np.flatnonzero(np.diff(past.user_idx, append=0))
    scores = model.scores(queries_at(past, last, history_len=16, time_given=True))
    of_new = scores[:, is_hidden]  # (n_users, N_KINDS)
    new_kind = (np.flatnonzero(is_hidden) - 1) % N_KINDS
    assert (new_kind[of_new.argmax(1)] == past.user_idx[last] % N_KINDS).mean() > 0.95
    rank = (scores[:, 1:] > of_new.max(1, keepdims=True)).sum(1)
    assert (rank < 30).mean() > 0.5  # they come up among all


def test_only_the_weights_of_items_without_events_change() -> None:
    log, catalog = tastes()
    torch.manual_seed(0)
    net = ChronotopeNet(MODEL, catalog)
    before = {name: table.clone() for name, table in net.state_dict().items()}
    fit = fitted(net, log, catalog)
    assert fit is not None
    assert fit.n_hidden > 100
    changed = [
        name for name, table in net.state_dict().items() if not torch.equal(table, before[name])
    ]
    assert changed == ["content_head.cold_weights", "content_head.metric"]
    metric_names = ["following_content", "popular_content"]
    assert list(fit.weights) == ["text", "expected_popularity", *metric_names, "constant"]
    again = fitted(net, log, catalog)
    assert again == fit  # the same targets and items are drawn


def test_without_content_or_targets_there_is_nothing_to_fit() -> None:
    log, catalog = tastes()
    assert fitted(ChronotopeNet(MODEL, replace(catalog, content=None)), log, catalog) is None
    small = replace(sample_catalog(), content=sample_content(sample_catalog()))
    net = ChronotopeNet(MODEL, small)
    few = sample_log().take(np.arange(0, 400, 8))
    assert fitted(net, few, small) is None
    assert net.content_head is not None
    assert not net.content_head.cold_weights.any()


def content_model() -> tuple[ChronotopeRecommender, Catalog]:
    catalog = replace(sample_catalog(), content=sample_content(sample_catalog()))
    return ChronotopeRecommender(MODEL, TRAINING).fit(sample_log(), catalog), catalog


def test_a_stored_model_reads_the_same_content(tmp_path: Path) -> None:
    model, catalog = content_model()
    model.save(tmp_path / "model.pt")
    asked = queries_at(sample_log(), np.arange(20, 60), history_len=16, time_given=True)
    loaded = ChronotopeRecommender.load(tmp_path / "model.pt", catalog)
    np.testing.assert_array_equal(loaded.scores(asked), model.scores(asked))
    assert catalog.content is not None
    other = sample_content(catalog, seed=1)
    axes = replace(
        other.axes, parts=tuple(replace(part, encoder="new@9") for part in other.axes.parts)
    )
    with pytest.raises(ConfigError, match="other encoders"):
        ChronotopeRecommender.load(
            tmp_path / "model.pt", replace(catalog, content=replace(other, axes=axes))
        )


def test_a_model_stored_before_there_was_content_reads_none(tmp_path: Path) -> None:
    model = ChronotopeRecommender(MODEL, TRAINING).fit(sample_log(), sample_catalog())
    model.save(tmp_path / "model.pt")
    stored = load_tensors(tmp_path / "model.pt")
    stored["model"] = MODEL.model_copy().model_dump_json(exclude={"content", "modalities"})
    del stored["priors"]["content_popularity"], stored["priors"]["cold_share"]
    del stored["encoders"]
    save_tensors(tmp_path / "old.pt", stored)
    asked = queries_at(sample_log(), np.arange(20, 60), history_len=16, time_given=True)
    with_content = replace(sample_catalog(), content=sample_content(sample_catalog()))
    for catalog in (sample_catalog(), with_content):
        loaded = ChronotopeRecommender.load(tmp_path / "old.pt", catalog)
        np.testing.assert_array_equal(loaded.scores(asked), model.scores(asked))
        assert loaded.net.content_head is None


def test_content_follows_the_items_to_a_grown_catalogue(tmp_path: Path) -> None:
    model, catalog = content_model()
    assert catalog.content is not None
    log = sample_log()
    asked = queries_at(log, np.arange(20, 60), history_len=16, time_given=True)
    before = model.scores(asked)
    items = IdMap.of([*catalog.items.ids.to_pylist(), "i99"])
    new_row = catalog.content.vectors[[4]]
    grown = replace(
        catalog,
        items=items,
        places=items,
        item_category=np.r_[catalog.item_category, 1].astype(np.int32),
        **{
            name: np.r_[getattr(catalog, name), np.nan]
            for name in ("item_lat", "item_lon", "place_lat", "place_lon")
        },
        content=replace(catalog.content, vectors=np.r_[catalog.content.vectors, new_row]),
    )
    model.transfer_to(log, grown)
    after = model.scores(asked)
    np.testing.assert_allclose(after[:, 1:-1], before[:, 1:], atol=1e-4)
    assert float(model.priors.content_popularity[-1]) > 0
    later = replace(sample_log(seed=1), occurred_s=sample_log(seed=1).occurred_s + 40 * 86_400)
    model.update(later)
    model.save(tmp_path / "model.pt")
    loaded = ChronotopeRecommender.load(tmp_path / "model.pt", grown)
    np.testing.assert_array_equal(loaded.scores(asked), model.scores(asked))
    without = replace(grown, content=None)
    model.transfer_to(log, without)
    assert model.net.content_head is None
    model.transfer_to(log, grown)
    assert model.net.content_head is None  # an untrained one would disturb the scores


def test_content_of_another_encoder_is_not_mixed_in() -> None:
    model, catalog = content_model()
    assert catalog.content is not None
    parts = tuple(replace(part, encoder="new@9") for part in catalog.content.axes.parts)
    other = replace(catalog.content, axes=replace(catalog.content.axes, parts=parts))
    with pytest.raises(ConfigError, match="other encoders"):
        model.transfer_to(sample_log(), replace(catalog, content=other))


def test_sampled_columns_stand_for_all_items_without_events() -> None:
    rng = np.random.default_rng(0)
    for n_cold in (0, 1, MAX_COLUMNS, MAX_COLUMNS + 1, 3 * MAX_COLUMNS):
        is_cold = torch.zeros(4 * MAX_COLUMNS, dtype=torch.bool)
        is_cold[5 : 5 + n_cold] = True
        for targets in ([], [5], list(range(5, 25)), list(range(4 * MAX_COLUMNS))):
            columns, log_weight = _sample_columns(is_cold, torch.tensor(targets).long(), rng)
            assert is_cold[columns].all()
            assert len(columns.unique()) == len(columns)
            assert float(log_weight.exp().sum()) == pytest.approx(n_cold, rel=1e-4)
            cold_targets = [target for target in targets if is_cold[target]]
            assert set(cold_targets) <= set(columns.tolist())


@pytest.mark.parametrize("n_events", [0, 1, 40])
def test_a_log_of_few_events_fits_nothing(n_events: int) -> None:
    log, catalog = tastes()
    net = ChronotopeNet(MODEL, catalog)
    few = log.take(np.arange(len(log)) < n_events)
    rounds = [PrequentialRound(np.arange(n_events), count_priors(few, catalog))]
    assert fit_cold_start(net, few, catalog, rounds, TRAINING) is None
