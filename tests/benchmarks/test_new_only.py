"""Live counts and targets of the discovery benchmark, by hand; and its rows on a small task."""

import numpy as np
import pytest

from benchmarks import new_only
from benchmarks.new_only import DAY_S, LiveCounts, NewOnlyTask, Rules, is_discovery, row_of
from chronotope.contracts.event_log import EventLog
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.config import TrainingConfig

LOG = EventLog.sorted(
    user_idx=[1, 1, 1, 1, 2, 2],
    item_idx=[1, 2, 2, 1, 2, 3],
    occurred_s=[0, DAY_S, DAY_S, 9 * DAY_S, 2 * DAY_S, 3 * DAY_S],
    place_idx=[1, 2, 2, 1, 2, 1],
)


def test_a_discovery_is_new_and_not_the_first_basket() -> None:
    assert is_discovery(LOG, 4).tolist() == [False, True, True, False, False, True]


def test_live_counts_end_before_the_moment_and_forget() -> None:
    live = LiveCounts(LOG, 4)
    moments = np.array([0, 2 * DAY_S, 3 * DAY_S, 9 * DAY_S + 1])
    assert live.counts(moments, None)[:, 1:].tolist() == [
        [0, 0, 0],
        [1, 2, 0],
        [1, 3, 0],
        [2, 3, 1],
    ]
    assert live.counts(moments, 7)[-1, 1:].tolist() == [1, 0, 1]
    at_places = live.place_counts(moments, np.array([1, 2, 2, 1]))
    assert at_places[:, 1:].tolist() == [[0, 0, 0], [0, 2, 0], [0, 3, 0], [2, 0, 1]]


def test_every_model_has_a_rank_of_every_target(monkeypatch: pytest.MonkeyPatch) -> None:
    log, catalog = sample_log(), sample_catalog()
    middle_s = int(np.quantile(log.occurred_s, 0.7))
    later = np.flatnonzero((log.occurred_s >= middle_s) & is_discovery(log, catalog.n_items))
    targets = later[np.argsort(log.occurred_s[later], kind="stable")]
    starts = (log.user_start(), log.basket_start())
    task = NewOnlyTask(log, catalog, log.before(middle_s), targets, starts)
    rules = Rules(0.7, 100, TrainingConfig(max_epochs=1, n_rounds=2), kernel_len=8)
    monkeypatch.setattr(new_only, "BATCH_SIZE", 16)
    ranks = new_only.measure(task, new_only.MODELS, rules, seed=0)
    assert list(ranks) == list(new_only.MODELS)
    for name, model_ranks in ranks.items():
        assert model_ranks.shape == targets.shape
        assert (model_ranks >= 1).all()
        assert np.isfinite(model_ranks).all()
        row = row_of("sample", name, model_ranks, log.user_idx[targets])
        assert row["low"] <= row["acc_10"] <= row["high"]
