"""Rates of users, and how often their intervals are right."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import norm

from chronotope.contracts.errors import NotEnoughData
from chronotope.metrics.uplift import (
    HitsPerList,
    Uplift,
    anytime_bound,
    estimate_uplift,
    hits_per_list,
    share_mismatch,
)

Floats = npt.NDArray[np.float64]


def users(n: int, mean: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Hits and lists of users who differ a lot in both; the rate is ``mean`` a list."""
    lists = rng.geometric(0.2, n)
    own = rng.beta(2, 2 / mean - 2, n)  # whoever likes one list likes the others too
    return rng.binomial(lists, own).astype(float), lists.astype(float)


def pair(seed: int, gain: float = 0.0, n: int = 300) -> Uplift:
    rng = np.random.default_rng(seed)
    return estimate_uplift(
        hits_per_list(*users(n, 0.2, rng)), hits_per_list(*users(n, 0.2 + gain, rng))
    )


def test_intervals_of_a_rate_hold_the_truth_as_often_as_they_say() -> None:
    told = [hits_per_list(*users(300, 0.2, np.random.default_rng(seed))) for seed in range(600)]
    assert 0.92 <= np.mean([one.low <= 0.2 <= one.high for one in told]) <= 0.975


def test_lists_of_one_user_are_not_counted_as_many_users() -> None:
    hits, lists = users(300, 0.2, np.random.default_rng(0))
    rate = hits_per_list(hits, lists)
    naive = np.sqrt(rate.estimate * (1 - rate.estimate) / lists.sum())
    assert rate.error > 1.2 * naive


def test_no_difference_is_found_where_there_is_none() -> None:
    told = [pair(seed) for seed in range(600)]
    wrong = np.mean([one.p_value < 0.05 for one in told])
    assert 0.025 <= wrong <= 0.08
    assert wrong == np.mean([not one.low <= 0 <= one.high for one in told])


def test_a_difference_is_found_and_its_interval_holds_it() -> None:
    told = [pair(seed, 0.08) for seed in range(200)]
    assert np.mean([one.p_value < 0.05 for one in told]) > 0.8
    assert 0.9 <= np.mean([one.low <= 0.08 <= one.high for one in told]) <= 0.985


def test_looking_every_day_deceives_the_usual_interval_but_not_the_other() -> None:
    """No difference, looked at after every 40 of 4,000 users."""
    usual = always = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sums = np.cumsum(rng.normal(0, 1, (100, 40)).sum(axis=1))
        n = 40 * np.arange(1, 101)
        z = np.abs(sums) / np.sqrt(n)
        usual += bool((z > norm.ppf(0.975)).any())
        always += bool((z > [anytime_bound(int(m), 0.95) for m in n]).any())
    assert usual > 0.25 * 200
    assert always <= 0.05 * 200


def test_by_hand() -> None:
    rate = hits_per_list(np.array([1.0, 0.0, 2.0]), np.array([2.0, 1.0, 2.0]))
    assert rate.estimate == 0.6
    spread = ((1 - 1.2) ** 2 + 0.6**2 + (2 - 1.2) ** 2) * 3 / 2 / 25
    assert rate.error == pytest.approx(np.sqrt(spread))
    told = estimate_uplift(HitsPerList(0.2, 0, 0, 0.03, 10), HitsPerList(0.3, 0, 0, 0.04, 10))
    assert (told.difference, told.relative) == (pytest.approx(0.1), pytest.approx(0.5))
    assert told.p_value == pytest.approx(2 * norm.sf(2))
    assert told.always_low < told.low < told.high < told.always_high


def test_nothing_happened_anywhere() -> None:
    none = hits_per_list(np.zeros(5), np.ones(5))
    told = estimate_uplift(none, none)
    assert (told.difference, told.p_value) == (0, 1)
    assert np.isnan(told.relative)
    with pytest.raises(NotEnoughData):
        hits_per_list(np.ones(1), np.ones(1))


def test_a_mismatch_of_shares_is_seen() -> None:
    shares = np.array([0.9, 0.1])
    assert share_mismatch(np.array([9000, 1000]), shares) == 1.0
    assert share_mismatch(np.array([8900, 1100]), shares) < 0.001
    assert share_mismatch(np.array([50, 5]), shares) > 0.5
    assert share_mismatch(np.array([50]), np.array([1.0])) == 1.0
