"""Logs without repeats under a budget: what decides it, what is released, what is recommended."""

import numpy as np
import pytest
import torch

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import IdMap
from chronotope.contracts.queries import queries_at
from chronotope.training.private.accountant import (
    ORDERS,
    NoisySteps,
    noise_for_steps,
    noise_instead_of_steps,
    renyi_divergence,
    spent_epsilon,
)
from chronotope.training.private.config import PrivateTrainingConfig
from chronotope.training.private.gaussian_noise import noise_multiplier
from chronotope.training.private.new_items_only import HISTORY_PENALTY
from chronotope.training.private.private_counts import (
    REPEAT_NORM,
    PrivacyBudget,
    ReleasedCounts,
    clipped_counts,
    more_item_counts,
    repeats,
)
from chronotope.training.private.private_pairs import (
    pair_sums,
    release_pairs,
    significant_affinities,
)
from chronotope.training.private.private_recommender import PrivateRecommender

BUDGET, STEPS = PrivacyBudget(8.0, 1e-5), PrivateTrainingConfig(steps=20)
N_USERS, N_ITEMS, N_EVENTS, N_OF_TASTE = 400, 80, 12, 40


def two_tastes(*, n_distinct: int = N_EVENTS) -> EventLog:
    """Users who have items of one half of the catalogue only, each of them as often.

    Args:
        n_distinct: Different items of a user; none comes back if there are as many as events.
    """
    rng = np.random.default_rng(0)
    items = [
        np.resize(1 + N_OF_TASTE * (user % 2) + rng.permutation(N_OF_TASTE)[:n_distinct], N_EVENTS)
        for user in range(N_USERS)
    ]
    return EventLog.sorted(
        user_idx=np.repeat(np.arange(1, N_USERS + 1), N_EVENTS),
        item_idx=np.concatenate(items),
        occurred_s=1_600_000_000 + 3_600 * np.tile(np.arange(N_EVENTS), N_USERS),
    )


def catalog() -> Catalog:
    items = IdMap.of([f"i{number:02d}" for number in range(N_ITEMS)])
    nowhere = np.full(items.size, np.nan)
    return Catalog(
        users=IdMap.of([f"u{number:03d}" for number in range(N_USERS)]),
        items=items,
        places=IdMap.of([]),
        categories=IdMap.of([]),
        item_category=np.zeros(items.size, np.int32),
        item_lat=nowhere,
        item_lon=nowhere,
        place_lat=nowhere[:1],
        place_lon=nowhere[:1],
    )


def last_item_scores(model: PrivateRecommender, log: EventLog) -> np.ndarray:
    """Scores of all items for each user's last event."""
    targets = np.flatnonzero(np.diff(log.user_idx, append=0))
    queries = queries_at(log, targets, history_len=model.history_len, time_given=True)
    return model.scores(queries)


def test_the_noisy_share_of_repeats_decides_whether_the_history_is_copied() -> None:
    for n_distinct, expected in ((N_EVENTS, False), (4, True)):
        log = two_tastes(n_distinct=n_distinct)
        model = PrivateRecommender(BUDGET, noise_seed=0).fit(log, catalog())
        assert model.model.scores_repeats is expected


def test_one_user_moves_the_count_of_repeats_by_a_bounded_norm() -> None:
    log = two_tastes(n_distinct=4)
    others = log.take(log.user_idx != 1)
    difference = clipped_counts(repeats(log)) - clipped_counts(repeats(others))
    assert np.linalg.norm(difference) == pytest.approx(REPEAT_NORM)
    assert difference[1] / difference.sum() == pytest.approx(8 / 12)


def test_items_of_the_history_come_last_and_those_of_the_taste_first() -> None:
    log = two_tastes()
    model = PrivateRecommender(BUDGET, private_training=STEPS, noise_seed=0)
    scores = last_item_scores(model.fit(log, catalog()), log)
    for row, user in enumerate(range(0, N_USERS, 40)):
        own = log.item_idx[log.user_idx == user + 1]
        of_taste = np.setdiff1d(1 + N_OF_TASTE * (user % 2) + np.arange(N_OF_TASTE), own[:-1])
        others = np.setdiff1d(np.arange(1, N_ITEMS + 1), np.append(of_taste, own))
        user_scores = scores[40 * row]
        assert user_scores[own[:-1]] == pytest.approx(HISTORY_PENALTY)
        assert user_scores[of_taste].mean() > user_scores[others].mean() + 1.0
    counts_alone = PrivateRecommender(BUDGET, noise_seed=0).fit(log, catalog())
    assert np.unique(last_item_scores(counts_alone, log)[:, 1:].round(3)).size <= N_ITEMS + 1


def test_where_few_counts_are_known_they_are_released_again() -> None:
    log, budget = two_tastes(), PrivacyBudget(0.5, 1e-5)
    true_counts = np.bincount(log.item_idx, minlength=N_ITEMS + 1)
    model = PrivateRecommender(budget, private_training=STEPS, noise_seed=0).fit(log, catalog())
    assert not model.priors.affinity_weight.any()
    counts = ReleasedCounts(model.priors, False, true_counts + 900.0, 1e6)
    again = more_item_counts(log, counts, 0.01, seed=0)
    assert again[1:] == pytest.approx(true_counts[1:], abs=1.0)
    assert more_item_counts(log, counts._replace(deviation=1e-6), 1.0, seed=0) == pytest.approx(
        true_counts + 900.0
    )


def test_pairs_hide_what_is_below_the_noise() -> None:
    log, popularity = two_tastes(), torch.ones(N_ITEMS + 1)
    items, weights = release_pairs(log, popularity, 1.0, seed=0)
    first_half = np.arange(1, N_OF_TASTE + 1)
    is_same = items[first_half] <= N_OF_TASTE
    same_weight = (weights[first_half] * is_same).sum()
    assert same_weight > 0.75 * weights[first_half].sum() > 0  # chance is .5
    noise = np.random.default_rng(0).normal(0.0, 1.0, (100, 100))
    symmetric = np.triu(noise) + np.triu(noise, 1).T
    assert not significant_affinities(symmetric, 2.0 * np.sqrt(100) * 1.1).any()


def test_one_user_moves_the_pairs_by_a_norm_of_one() -> None:
    log, items = two_tastes(), np.arange(1, N_ITEMS + 1)
    others = log.take(log.user_idx != 7)
    difference = pair_sums(log, items, N_ITEMS + 1) - pair_sums(others, items, N_ITEMS + 1)
    assert np.linalg.norm(difference) == pytest.approx(1.0)


@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_pairs_cost_no_more_than_the_steps_they_replace(epsilon: float) -> None:
    counts = NoisySteps(noise_multiplier(0.5 * epsilon, 1e-5), 1.0, 1)
    steps = NoisySteps(noise_for_steps(epsilon, 1e-5, 0.3, 20, counts), 0.3, 20)
    pairs = NoisySteps(noise_instead_of_steps(1e-5, steps, counts), 1.0, 1)
    assert spent_epsilon(1e-5, pairs, counts) <= epsilon
    # a choice between them by the counts: at each order the larger divergence of the two
    either = np.maximum(20 * renyi_divergence(steps), renyi_divergence(pairs))
    losses = either + renyi_divergence(counts)
    losses += np.log1p(-1 / ORDERS) - np.log(1e-5 * ORDERS) / (ORDERS - 1)
    assert losses.min() <= epsilon * (1 + 1e-9)
    assert losses.min() > 0.99 * epsilon
