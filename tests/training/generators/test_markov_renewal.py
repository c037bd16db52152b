"""The Markov-renewal generator: rhythms, returns and places of the log, and nobody's rare items."""

from dataclasses import replace

import numpy as np
import pytest

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.spacetime.clock import local_hour
from chronotope.training.generators import MarkovRenewal
from chronotope.training.generators.place_choice import fit_place_choice
from chronotope.training.generators.return_choice import Past, choice_shares, own_items
from tests.training.generators.small_city import small_city


@pytest.fixture(scope="module")
def city() -> tuple[EventLog, Catalog]:
    return small_city()


@pytest.fixture(scope="module")
def process(city: tuple[EventLog, Catalog]) -> MarkovRenewal:
    return MarkovRenewal.fit(*city, min_users=3)


@pytest.fixture(scope="module")
def generated(process: MarkovRenewal) -> EventLog:
    return process.generate(100, seed=0)


def test_the_same_seed_gives_the_same_log_and_another_another(process: MarkovRenewal) -> None:
    logs = [process.generate(3, seed) for seed in (1, 1, 2)]
    assert np.array_equal(logs[0].item_idx, logs[1].item_idx)
    assert np.array_equal(logs[0].occurred_s, logs[1].occurred_s)
    assert not np.array_equal(logs[0].occurred_s[:20], logs[2].occurred_s[:20])


def test_users_are_new_and_as_active_as_real_ones(
    city: tuple[EventLog, Catalog], generated: EventLog
) -> None:
    real_mean, new_mean = (len(log) / len(np.unique(log.user_idx)) for log in (city[0], generated))
    assert 0.6 * real_mean < new_mean < 1.3 * real_mean
    assert generated.occurred_s.max() <= city[0].occurred_s.max()


def test_nights_stay_quiet_and_people_return(
    city: tuple[EventLog, Catalog], generated: EventLog
) -> None:
    def night_share(log: EventLog) -> float:
        hours = local_hour(log.occurred_s, log.utc_offset_min)
        return float(np.mean((hours >= 1) & (hours < 5)))

    def return_share(log: EventLog) -> float:
        pairs = np.unique(np.stack([log.user_idx, log.item_idx]), axis=1)
        return 1 - pairs.shape[1] / len(log)

    assert night_share(generated) < 0.12  # a sixth if hours were even
    assert return_share(generated) == pytest.approx(return_share(city[0]), abs=0.1)


def test_items_of_few_users_are_never_generated(city: tuple[EventLog, Catalog]) -> None:
    log, catalog = city
    secret = int(np.bincount(log.item_idx).argmax())
    is_owner = np.isin(log.user_idx, np.unique(log.user_idx)[:2])
    hidden = log.take(is_owner | (log.item_idx != secret))  # two users have it
    generated = MarkovRenewal.fit(hidden, catalog, min_users=3).generate(60, seed=0)
    assert secret in hidden.item_idx
    assert secret not in generated.item_idx


def test_a_return_prefers_the_item_of_this_hour() -> None:
    day_s = 86_400
    past = Past(np.array([5, 7, 5, 7]), np.array([9, 20, 24 + 9, 24 + 20]) * 3_600)
    weights = np.zeros(9)
    weights[4] = 1.0  # at a similar hour
    own = own_items(past, 2 * day_s + 9 * 3_600)
    shares = choice_shares(own, weights)
    assert dict(zip(own.items.tolist(), shares, strict=True))[5] > 0.9


def test_places_follow_the_item(city: tuple[EventLog, Catalog]) -> None:
    log = replace(city[0], place_idx=(city[0].item_idx % 3 + 1).astype(np.int32))
    items = np.arange(1, 30, dtype=np.int32)
    places = fit_place_choice(log, min_users=1).draw(items, np.random.default_rng(0))
    known = np.isin(items, log.item_idx)
    assert (places[known] == items[known] % 3 + 1).all()


def test_days_without_hours_stay_days(city: tuple[EventLog, Catalog]) -> None:
    log, catalog = city
    days = EventLog.sorted(
        user_idx=log.user_idx, item_idx=log.item_idx, occurred_s=log.occurred_s // 86_400 * 86_400
    )
    generated = MarkovRenewal.fit(days, catalog).generate(20, seed=0)
    assert not (generated.occurred_s % 86_400).any()
