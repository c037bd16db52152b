"""A bandit whose truth is known: do the estimates find it, and do their intervals hold it?"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest

from chronotope.contracts.errors import DataError, NotEnoughData
from chronotope.metrics.off_policy import LoggedImpressions, OffPolicyEstimates, estimate_off_policy
from chronotope.metrics.reward_model import expected_rewards, reward_features

N_ITEMS, K, LISTS = 6, 2, 3  # lists a user
PREFERENCE = np.array([0.35, 0.25, 0.15, 0.12, 0.08, 0.05])  # the logging model's probabilities
APPEAL = np.array([0.10, 0.30, 0.20, 0.05, 0.25, 0.40])  # the truth, at the first position
SECOND = 0.5  # of the appeal is left at the second position
EPSILON = 0.6
TARGET = np.array([1, 5])  # items the target shows
TRUTH = APPEAL[1] + SECOND * APPEAL[5]


@dataclass(frozen=True)
class Log:
    items: npt.NDArray[np.int64]
    reward: npt.NDArray[np.float64]
    user: npt.NDArray[np.int64]


def logged(users: int, seed: int) -> Log:
    """Lists of an epsilon-greedy policy; users differ in how much they like anything."""
    rng = np.random.default_rng(seed)
    n = users * LISTS
    drawn = rng.random((n, N_ITEMS)).argsort(axis=1)[:, :K]
    best = np.argsort(-PREFERENCE)[:K]
    items = np.where(rng.random(n)[:, None] < EPSILON, drawn, best)
    user = np.repeat(np.arange(users), LISTS)
    mood = rng.uniform(0.2, 1.8, users)[user]
    chance = APPEAL[items] * np.array([1.0, SECOND]) * mood[:, None]
    return Log(items, (rng.random((n, K)) < chance).astype(float), user)


def shown(log: Log, *, good_q: bool = True) -> LoggedImpressions:
    best = np.argsort(-PREFERENCE)[:K]
    n, position = len(log.items), np.tile(np.arange(K), len(log.items))
    items, target = log.items.ravel(), np.tile(TARGET, n)
    propensity = (1 - EPSILON) * (items == np.tile(best, n)) + EPSILON / N_ITEMS
    reward, users = log.reward.ravel(), np.repeat(log.user, K)
    told = reward_features(APPEAL[items] if good_q else PREFERENCE[items], position)
    asked = reward_features(APPEAL[target] if good_q else PREFERENCE[target], position)
    q, q_target = expected_rewards(told, reward, users, asked)
    rows = np.repeat(np.arange(n), K)
    hit = (items == target).astype(float)
    return LoggedImpressions(rows, log.user, reward, propensity, hit, q, q_target)


@pytest.fixture(scope="module")
def many() -> list[OffPolicyEstimates]:
    return [
        estimate_off_policy(shown(logged(200, seed)), n_resamples=200, seed=seed)
        for seed in range(200)
    ]


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_they_are_right_on_average(many: list[OffPolicyEstimates], name: str) -> None:
    found = np.array([getattr(one, name).estimate for one in many])
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - TRUTH) < 3.5 * error
    assert error < 0.02 * TRUTH  # and the average is one that could have shown a bias


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_their_intervals_hold_the_truth_as_often_as_they_say(
    many: list[OffPolicyEstimates], name: str
) -> None:
    told = [getattr(one, name) for one in many]
    assert 0.90 <= np.mean([one.low <= TRUTH <= one.high for one in told]) <= 0.985


def test_normalising_and_a_reward_model_make_them_surer(many: list[OffPolicyEstimates]) -> None:
    spread = {n: np.std([getattr(one, n).estimate for one in many]) for n in ("ips", "snips", "dr")}
    assert spread["snips"] < spread["ips"]
    assert spread["dr"] < spread["ips"]


def test_a_wrong_reward_model_does_no_harm_to_the_average() -> None:
    found = [
        estimate_off_policy(shown(logged(200, s), good_q=False), n_resamples=2).dr.estimate
        for s in range(100)
    ]
    assert abs(np.mean(found) - TRUTH) < 3.5 * np.std(found) / np.sqrt(len(found))


def test_wrong_propensities_are_found_out(many: list[OffPolicyEstimates]) -> None:
    """What the tests above would miss if they could not fail."""
    log = shown(logged(2000, 0))
    wrong = estimate_off_policy(
        replace(log, propensity=np.full_like(log.propensity, 0.5)), n_resamples=300
    )
    assert not wrong.ips.low <= TRUTH <= wrong.ips.high
    assert wrong.mean_weight < 0.5
    assert np.mean([one.mean_weight for one in many]) == pytest.approx(1, abs=0.02)


def test_by_hand() -> None:
    told = LoggedImpressions(
        list_idx=np.array([0, 0, 1]),
        user=np.array([7, 8]),
        reward=np.array([1.0, 0.0, 1.0]),
        propensity=np.array([0.5, 0.25, 0.1]),
        target=np.array([1.0, 0.0, 1.0]),
        q=np.array([0.5, 0.5, 0.5]),
        q_target=np.array([0.5, 0.2, 0.6]),
    )
    found = estimate_off_policy(told)
    assert found.logged.estimate == 1.0
    assert found.ips.estimate == pytest.approx((2 + 10) / 2)
    assert found.snips.estimate == pytest.approx(12 / 12 * 3 / 2)
    assert found.dr.estimate == pytest.approx((0.5 + 2 * 0.5 + 0.2 + 0.6 + 10 * 0.5) / 2)
    assert found.gain.estimate == pytest.approx(found.dr.estimate - 1)
    assert found.effective_n == pytest.approx(12**2 / 104)
    assert (found.max_weight, found.clipped, found.n_users) == (10, 0, 2)
    clipped = estimate_off_policy(told, clip=4)
    assert clipped.ips.estimate == pytest.approx((2 + 4) / 2)
    assert (clipped.max_weight, clipped.clipped) == (4, pytest.approx(1 / 3))


def test_what_was_always_shown_is_worth_what_it_was() -> None:
    log = shown(logged(50, 1))
    same = estimate_off_policy(
        replace(log, propensity=np.ones_like(log.propensity), target=log.propensity**0)
    )
    assert same.ips == same.snips == same.logged
    assert same.effective_n == len(log.reward)


def test_what_cannot_be_estimated_is_refused() -> None:
    log, none = shown(logged(5, 1)), np.empty(0)
    with pytest.raises(DataError, match="above 0"):
        estimate_off_policy(replace(log, propensity=log.propensity * 0))
    with pytest.raises(NotEnoughData):
        estimate_off_policy(
            LoggedImpressions(none.astype(int), none.astype(int), none, none, none, none, none)
        )


def test_a_single_user_teaches_nobody() -> None:
    x = reward_features(np.array([0.5, 0.1]), np.array([0, 1]))
    q, _ = expected_rewards(x, np.array([1.0, 0.0]), np.array([3, 3]), x)
    assert q.tolist() == [0.5, 0.5]


def test_the_reward_model_finds_what_made_the_rewards() -> None:
    rng = np.random.default_rng(0)
    p, position = rng.uniform(0.001, 1, 20_000), rng.integers(0, 10, 20_000)
    x = reward_features(p, position)
    truth = 1 / (1 + np.exp(-(x @ np.array([-1.0, 0.8, -0.5]))))
    q, _ = expected_rewards(x, (rng.random(20_000) < truth).astype(float), np.arange(20_000), x)
    assert np.abs(q - truth).max() < 0.03
