"""The user head learns what new users of a group choose, and stays out where there is nothing."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import IdMap
from chronotope.contracts.queries import Queries
from chronotope.contracts.user_attributes import AttributeColumn, UserAttributes
from chronotope.inference.history import UserHistory, history_to_queries
from chronotope.inference.new_users import with_liked_items
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.splitting.new_users import new_user_queries
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training import cold_users
from chronotope.training.cold_users import fit_user_head
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

N_USERS, N_EVENTS, HOUR_S = 320, 6, 3_600
TASTES = ("left", "right")
MODEL = ModelConfig(history_len=16, kernel_len=8)
TRAINING = TrainingConfig(max_epochs=1, n_rounds=2, batch_size=64, max_targets=500)


def town(*, is_planted: bool = True) -> tuple[EventLog, Catalog]:
    """Users of one group choose items 1 to 7, those of the other 8 to 14."""
    rng = np.random.default_rng(0)
    group = np.r_[0, 1 + np.arange(N_USERS) % 2]
    user_idx = np.repeat(np.arange(1, N_USERS + 1), N_EVENTS)
    taste = group[user_idx] if is_planted else rng.integers(1, 3, len(user_idx))
    log = EventLog.sorted(
        user_idx=user_idx,
        item_idx=rng.integers(1, 8, len(user_idx)) + 7 * (taste - 1),
        occurred_s=HOUR_S * rng.integers(0, 24 * 56, len(user_idx)),
    )
    columns = (AttributeColumn(name="hand", first=1, levels=TASTES),)
    catalog = replace(
        sample_catalog(),
        users=IdMap.of([f"u{n:03d}" for n in range(N_USERS)]),
        items_are_places=False,
        user_attributes=UserAttributes(columns, group[:, None].astype(np.int32)),
    )
    return log, catalog


@lru_cache(maxsize=1)
def trained() -> ChronotopeRecommender:
    return ChronotopeRecommender(MODEL, TRAINING).fit(*town())


def stranger(log: EventLog, level: int) -> Queries:
    is_first = np.arange(N_USERS + 1) == 1
    queries = new_user_queries(log, is_first, 0, place_given=False).queries
    return replace(queries, context={"user.hand": np.array([level], np.float32)})


def test_a_new_user_gets_what_the_group_chooses() -> None:
    log, model = town()[0], trained()
    assert [column.name for column in model.attributes] == ["hand"]
    for level in (1, 2):
        item_scores = model.scores(stranger(log, level))[0, 1:]
        best = set((1 + np.argsort(-item_scores)[:7]).tolist())
        assert best == set(range(7 * level - 6, 7 * level + 1))


def test_liked_items_put_those_of_the_same_taste_first() -> None:
    model, moment = trained(), datetime.fromtimestamp(HOUR_S * 24 * 56, UTC)
    nothing = UserHistory(
        *(np.empty(0, dtype) for dtype in (np.int32, np.int32, np.int64, np.int32))
    )
    for liked in ([1, 2], [8, 9]):
        history = with_liked_items(
            nothing, np.array(liked, np.int32), int(moment.timestamp()), items_are_places=False
        )
        item_scores = model.scores(history_to_queries(history, 0, moment))[0]
        item_scores[[0, *liked]] = -np.inf
        best = np.argsort(-item_scores)[:5]
        assert set(best.tolist()) == set(range(liked[0], liked[0] + 7)) - set(liked)


def test_attributes_that_say_nothing_get_no_weight() -> None:
    log, catalog = town(is_planted=False)
    net = ChronotopeNet(MODEL, catalog).eval()
    fit_user_head(net, log, catalog, TRAINING)
    assert net.user_head is not None
    gain = net.user_head.column_weights.abs().max() * net.user_head.level_factors.abs().max()
    assert gain < 0.5


def test_few_users_or_no_queries_leave_the_head_out() -> None:
    net = ChronotopeNet(MODEL, sample_catalog()).eval()
    assert fit_user_head(net, sample_log(), sample_catalog(), TRAINING) is None
    log, catalog = town()
    net = ChronotopeNet(MODEL, catalog).eval()
    nothing = TRAINING.model_copy(update={"new_user_queries": 0})
    assert fit_user_head(net, log, catalog, nothing) is None
    assert net.user_head is not None
    assert not net.user_head.active


def test_what_does_not_help_other_users_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    log, catalog = town()
    net = ChronotopeNet(MODEL, catalog).eval()

    def harmful(head: cold_users.UserHead, batches: object) -> None:
        del batches
        head.weights[:, 0] = 50.0 * torch.ones(2)
        head.start.copy_(torch.randn(head.start.shape, generator=torch.Generator().manual_seed(0)))

    monkeypatch.setattr(cold_users, "_fit_weights", harmful)
    fit = fit_user_head(net, log, catalog, TRAINING)
    assert fit is not None
    assert fit.helps == (False, False)
    assert net.user_head is not None
    assert not net.user_head.active
    assert not any(weights.any() for weights in net.user_head.fitted())


def test_saved_and_transferred_models_keep_the_head(tmp_path: Path) -> None:
    log, catalog = town()
    model = trained()
    expected = model.scores(stranger(log, 2))
    model.save(tmp_path / "model.pt")
    loaded = ChronotopeRecommender.load(tmp_path / "model.pt", catalog)
    np.testing.assert_array_equal(loaded.scores(stranger(log, 2)), expected)
    columns = (AttributeColumn(name="hand", first=1, levels=("both", *TASTES)),)
    codes = np.zeros((N_USERS + 1, 1), np.int32)
    grown = replace(catalog, user_attributes=UserAttributes(columns, codes))
    loaded.transfer_to(log, grown)
    np.testing.assert_allclose(loaded.scores(stranger(log, 3)), expected, atol=1e-5)
    unknown = loaded.scores(stranger(log, 0))
    np.testing.assert_array_equal(loaded.scores(stranger(log, 1)), unknown)  # "both" is new
