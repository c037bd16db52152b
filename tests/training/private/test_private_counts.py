"""Noise of a budget against published values; bounded contribution; what a model gives away."""

from dataclasses import replace

import numpy as np
import pytest

from chronotope.contracts.event_log import EventLog
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.private import private_counts
from chronotope.training.private.gaussian_noise import gaussian_delta, noise_multiplier
from chronotope.training.private.private_counts import (
    MAX_NORM,
    Histogram,
    PrivacyBudget,
    bound_events,
    clipped_counts,
    release_counts,
)
from chronotope.training.private.private_recommender import PrivateRecommender

BUDGET = PrivacyBudget(8.0, 1e-5)


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0])
def test_exact_noise_is_below_the_classical_bound_and_keeps_the_budget(epsilon: float) -> None:
    """Dwork and Roth (2014), theorem 3.22: sigma = sqrt(2 ln(1.25 / delta)) / epsilon suffices."""
    delta = 1e-5
    sigma = noise_multiplier(epsilon, delta)
    assert sigma < np.sqrt(2 * np.log(1.25 / delta)) / epsilon
    assert gaussian_delta(sigma, epsilon) == pytest.approx(delta, rel=1e-6)
    assert gaussian_delta(0.99 * sigma, epsilon) > delta


def test_the_loss_of_privacy_agrees_with_its_integral() -> None:
    """The definition: the integral of max(0, p - e^eps q) over the densities of both worlds."""
    sigma, epsilon = 0.7, 1.5
    outcome = np.linspace(-12, 13, 400_001)
    log_p, log_q = (-((outcome - mean) ** 2) / (2 * sigma**2) for mean in (1.0, 0.0))
    scale = (outcome[1] - outcome[0]) / (sigma * np.sqrt(2 * np.pi))
    integral = np.maximum(np.exp(log_p) - np.exp(epsilon + log_q), 0.0).sum() * scale
    assert gaussian_delta(sigma, epsilon) == pytest.approx(integral, rel=1e-4)


def test_one_user_changes_a_histogram_by_a_bounded_norm() -> None:
    users, cells = np.repeat([1, 2], [400, 3]), np.r_[np.repeat([0, 1], 200), 0, 2, 2]
    both = clipped_counts(Histogram(users, cells, 4))
    one = clipped_counts(Histogram(users[400:], cells[400:], 4))
    assert np.linalg.norm(both - one) == pytest.approx(MAX_NORM)
    assert one.tolist() == [1.0, 0.0, 2.0, 0.0]  # a short vector is not scaled


def test_events_of_a_user_are_bounded_and_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_counts, "MAX_EVENTS", 7)
    log = sample_log()
    bounded = bound_events(log, np.random.default_rng(0))
    assert np.unique(bounded.user_idx, return_counts=True)[1].tolist() == [7] * 12
    assert isinstance(bounded, EventLog)  # its order is checked there


def test_counts_are_near_the_true_ones_for_a_large_budget_and_noise_for_a_small_one() -> None:
    log, catalog = sample_log(), sample_catalog()
    true_counts = np.bincount(log.item_idx, minlength=catalog.n_items)
    users = 1 + np.arange(40 * len(log)) % 4_000  # many users with few events each
    many = EventLog.sorted(
        user_idx=users, item_idx=np.tile(log.item_idx, 40), occurred_s=np.tile(log.occurred_s, 40)
    )
    close = release_counts(many, catalog, PrivacyBudget(50.0, 1e-5), seed=0).priors
    popular = true_counts >= 5
    counted = np.expm1(close.popularity.numpy())[popular] / 40
    assert counted == pytest.approx(true_counts[popular], rel=0.25)
    noisy = release_counts(log, catalog, PrivacyBudget(0.01, 1e-5), seed=0).priors
    released = np.expm1(noisy.popularity.numpy())
    assert abs(np.corrcoef(released, true_counts)[0, 1]) < 0.9
    for pairs in (close.neighbour_weight, close.next_item_log, close.activity):
        assert not pairs.any()


def test_the_model_is_one_release_and_its_parameters_are_not_of_the_log() -> None:
    log, catalog = sample_log(), sample_catalog()
    model = PrivateRecommender(BUDGET, noise_seed=1).fit(log, catalog)
    before = model.priors.popularity.clone()
    model.observe(log)
    assert model.priors.popularity.equal(before)
    items = np.full(len(log), 1, np.int32)
    changed = replace(log, item_idx=items, place_idx=items)
    other = PrivateRecommender(BUDGET, noise_seed=1).fit(changed, catalog)
    for name, value in model.net.state_dict().items():
        assert value.equal(other.net.state_dict()[name]), name
    fresh = PrivateRecommender(BUDGET).fit(log, catalog)
    again = PrivateRecommender(BUDGET).fit(log, catalog)
    assert not fresh.priors.popularity.equal(again.priors.popularity)
