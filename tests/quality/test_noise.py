"""Where there is nothing to learn, nothing is learned: luck bounds what the model reaches."""

from dataclasses import replace

import numpy as np
import pytest

from chronotope.contracts.event_log import EventLog
from chronotope.datasets.city import CityConfig
from chronotope.metrics import hit_rate
from chronotope.models.config import ModelConfig
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender
from tests.quality.chance import best_of_noise, best_without_order, luck
from tests.quality.town import asked_from, catalog_of, instant_at, later_ranks, walked

pytestmark = pytest.mark.slow

CITY = CityConfig(n_events=10_000, n_users=50, n_items=100, anomalies=0.0)


@pytest.fixture(scope="module")
def log() -> EventLog:
    return walked(CITY)


def small() -> ChronotopeRecommender:
    return ChronotopeRecommender(
        ModelConfig(history_len=128, kernel_len=64), TrainingConfig(max_epochs=2)
    )


def test_items_drawn_at_random_are_not_foreseen(log: EventLog) -> None:
    """Items drawn anew from their popularity: the ten commonest are the best answer."""
    drawn = np.random.default_rng(0).choice(log.item_idx, len(log))
    noise = replace(log, item_idx=drawn, place_idx=drawn)
    found = hit_rate(later_ranks(small(), noise, catalog_of(CITY), instant_at(log, 0.7)), 10)
    bound = best_of_noise(log.item_idx, 10)
    assert 0.8 * bound <= found.mean() <= bound + luck(len(found))


def test_in_shuffled_time_only_habits_are_left(log: EventLog) -> None:
    """Nobody beats who knows what each user will still do, but not in which order."""
    mixed = EventLog.sorted(
        user_idx=log.user_idx,
        item_idx=log.item_idx,
        place_idx=log.item_idx,
        occurred_s=np.random.default_rng(0).permutation(log.occurred_s),
        utc_offset_min=log.utc_offset_min,
    )
    start_s, end_s = instant_at(mixed, 0.7), instant_at(mixed, 0.9)
    ranks = later_ranks(small(), mixed, catalog_of(CITY), start_s)
    asked = asked_from(mixed, start_s)
    early = mixed.occurred_s[asked] < end_s
    found = hit_rate(ranks[early], 1)
    assert found.mean() <= best_without_order(mixed, asked[early]) + luck(len(found))
