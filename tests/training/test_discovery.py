"""The discovery head learns what spreads among users, and stays out where nothing is learned."""

from dataclasses import replace

import numpy as np
import pytest

from chronotope.contracts.event_log import EventLog
from chronotope.metrics import evaluate, hit_rate
from chronotope.models.config import ModelConfig
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training import discovery
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

N_ITEMS = 15
CONFIG = ModelConfig(history_len=16, kernel_len=8)
TRAINING = TrainingConfig(max_epochs=1, n_rounds=2, batch_size=32, discovery_targets=600)


def fashion_log(n_users: int = 160) -> EventLog:
    """Users discover the item of the week, whatever they had before."""
    rng = np.random.default_rng(0)
    user, item, second = [], [], []
    for week in range(12):
        who = rng.choice(np.arange(1, n_users + 1), 90, replace=False)
        user.append(who)
        item.append(np.where(rng.random(90) < 0.8, 1 + week, rng.integers(1, N_ITEMS, 90)))
        second.append(week * 604_800 + rng.integers(0, 604_800, 90))
    return EventLog.sorted(
        user_idx=np.concatenate(user),
        item_idx=np.concatenate(item),
        occurred_s=np.concatenate(second),
    )


def new_only_hits(model: ChronotopeRecommender, log: EventLog) -> float:
    targets = np.flatnonzero(log.occurred_s >= 11 * 604_800)
    result = evaluate(model, log, targets, n_items=sample_catalog().n_items, time_given=True)
    ranks = result.new_only_rank[~np.isnan(result.new_only_rank)]
    return float(hit_rate(ranks, 2).mean())


def test_what_is_discovered_this_week_is_ranked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MIN_TARGETS", 100)
    log = fashion_log()
    known = log.before(11 * 604_800 + 172_800)  # two days of the last week
    catalog = sample_catalog()
    with_head = ChronotopeRecommender(CONFIG, TRAINING).fit(known, catalog)
    without = ChronotopeRecommender(
        CONFIG, TRAINING.model_copy(update={"discovery_targets": 0})
    ).fit(known, catalog)
    assert with_head.net.discovery_head.active
    assert not without.net.discovery_head.active
    later = replace(log, context={})
    assert new_only_hits(with_head, later) > new_only_hits(without, later) + 0.1


def test_few_discoveries_leave_the_head_out() -> None:
    model = ChronotopeRecommender(CONFIG, TRAINING).fit(sample_log(), sample_catalog())
    assert not model.net.discovery_head.active
    assert model.priors.affinity_item.shape[1] == 0


def test_targets_are_discoveries_of_later_time() -> None:
    log = fashion_log()
    positions = discovery.discovery_targets(log, sample_catalog().n_items, TRAINING)
    assert len(positions) <= TRAINING.discovery_targets
    middle_s = np.quantile(log.occurred_s, discovery.HISTORY_SHARE)
    for position in positions.tolist():
        mine = (log.user_idx == log.user_idx[position]) & (
            log.occurred_s < log.occurred_s[position]
        )
        assert mine.any()
        assert log.item_idx[position] not in log.item_idx[mine]
        assert log.occurred_s[position] >= middle_s
