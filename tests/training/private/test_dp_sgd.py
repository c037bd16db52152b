"""Accountant against published and Opacus' values; bounded gradients; noise of a budget."""

import numpy as np
import pytest
import torch

from chronotope.contracts.event_log import EventLog
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.config import TrainingConfig
from chronotope.training.private import dp_sgd
from chronotope.training.private.accountant import (
    ORDERS,
    NoisySteps,
    noise_for_steps,
    renyi_divergence,
    spent_epsilon,
)
from chronotope.training.private.config import PrivateTrainingConfig
from chronotope.training.private.dp_sgd import train_privately, user_targets
from chronotope.training.private.gaussian_noise import gaussian_delta
from chronotope.training.private.private_counts import PrivacyBudget
from chronotope.training.private.private_recommender import PrivateRecommender

BUDGET = PrivacyBudget(8.0, 1e-5)


@pytest.mark.parametrize(
    ("noise", "sample_rate", "n_steps", "epsilon"),
    [
        (1.2, 0.1, 200, 8.154964808445966),
        (1.1, 0.01, 10_000, 5.654308000149469),
        (5.0, 1.0, 20, 4.16191164235448),
        (1.1, 256 / 60_000, 14_062, 2.5969811785953),
    ],
    ids=["large batches", "many steps", "no sampling", "mnist"],
)
def test_the_accountant_agrees_with_opacus(
    noise: float, sample_rate: float, n_steps: int, epsilon: float
) -> None:
    """Values of Opacus 1.6.0, ``accountants.analysis.rdp`` with the orders 2 to 256.

    The last one is the tutorial of TensorFlow Privacy on MNIST, published as 2.92 by an older
    conversion from Renyi divergence.
    """
    assert spent_epsilon(1e-5, NoisySteps(noise, sample_rate, n_steps)) == pytest.approx(
        epsilon, rel=1e-9
    )


def test_the_divergence_agrees_with_its_integral() -> None:
    """The definition: log E_q[(p / q)^order] / (order - 1), p a mixture of two Gaussians."""
    noise, rate, outcome = 1.3, 0.2, np.linspace(-30, 31, 600_001)
    density = {
        mean: np.exp(-((outcome - mean) ** 2) / (2 * noise**2)) / (noise * np.sqrt(2 * np.pi))
        for mean in (0.0, 1.0)
    }
    ratio = (1 - rate) + rate * density[1.0] / np.maximum(density[0.0], 1e-300)
    step = outcome[1] - outcome[0]
    for order in (2, 5):
        moment = (density[0.0] * ratio**order).sum() * step
        divergence = renyi_divergence(NoisySteps(noise, rate, 1))[ORDERS.tolist().index(order)]
        assert divergence == pytest.approx(np.log(moment) / (order - 1), rel=1e-6)


def test_composition_is_no_less_than_its_parts_and_above_the_exact_loss() -> None:
    counts, steps = NoisySteps(2.0, 1.0, 1), NoisySteps(1.5, 0.2, 50)
    alone = spent_epsilon(1e-5, counts), spent_epsilon(1e-5, steps)
    together = spent_epsilon(1e-5, counts, steps)
    assert max(alone) < together < sum(alone)
    assert gaussian_delta(2.0, alone[0]) < 1e-5  # the exact loss of one release is smaller


@pytest.mark.parametrize("epsilon", [1.0, 3.0, 8.0])
def test_the_noise_of_a_model_spends_its_budget(epsilon: float) -> None:
    config = PrivateTrainingConfig(steps=30)
    model = PrivateRecommender(PrivacyBudget(epsilon, 1e-5), private_training=config)
    counts = NoisySteps(model._count_noise(), 1.0, 1)
    steps = NoisySteps(model.step_noise(), config.sample_rate, config.steps)
    assert epsilon * 0.995 < spent_epsilon(1e-5, counts, steps) <= epsilon


def test_more_steps_need_more_noise() -> None:
    counts = NoisySteps(10.0, 1.0, 1)
    noise = [noise_for_steps(3.0, 1e-5, 0.1, n_steps, counts) for n_steps in (10, 100, 1000)]
    assert noise == sorted(noise)


def test_one_user_moves_a_sum_by_a_bounded_norm() -> None:
    summed = [torch.zeros(3), torch.zeros(1)]
    dp_sgd._add_clipped(summed, [torch.tensor([3.0, 0.0, 4.0]), torch.tensor([12.0])], 1.0)
    assert float(torch.cat(summed).norm()) == pytest.approx(1.0)
    dp_sgd._add_clipped(summed, [torch.full((3,), torch.nan), torch.zeros(1)], 1.0)
    assert float(torch.cat(summed).norm()) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def log() -> EventLog:
    return sample_log()


def test_targets_of_a_user_are_the_users_own(log: EventLog) -> None:
    targets = user_targets(log, TrainingConfig())
    rng = np.random.default_rng(0)
    drawn = [targets.of_user(user, 4, rng) for user in range(targets.n_users)]
    assert all(len(positions) == 4 for positions in drawn)
    assert len({int(log.user_idx[positions][0]) for positions in drawn}) == targets.n_users
    assert all(len(set(log.user_idx[positions])) == 1 for positions in drawn)


def test_few_parameters_move_and_only_under_noise(log: EventLog) -> None:
    catalog, config = sample_catalog(), PrivateTrainingConfig(steps=3)
    start = PrivateRecommender(BUDGET, noise_seed=1).fit(log, catalog)
    trained = PrivateRecommender(BUDGET, private_training=config, noise_seed=1).fit(log, catalog)
    others = PrivateRecommender(BUDGET, private_training=config, noise_seed=2).fit(log, catalog)
    states = [dict(model.net.named_parameters()) for model in (start, trained, others)]
    moved = {name for name, value in states[0].items() if (states[1][name] != value).any()}
    assert moved == set(dp_sgd.TRAINED)
    assert all((states[1][name] != states[2][name]).any() for name in moved)


def test_training_lowers_the_loss_where_the_noise_is_low(log: EventLog) -> None:
    catalog = sample_catalog()
    model = PrivateRecommender(BUDGET, noise_seed=1).fit(log, catalog)
    before = {name: p.detach().clone() for name, p in model.net.named_parameters()}
    config = PrivateTrainingConfig(steps=20, sample_rate=0.9, learning_rate=0.1)
    train_privately(model.net, log, model.priors, model.training, config, 1e-6, seed=0)
    bias = dict(model.net.named_parameters())["gate.2.bias"]
    assert (bias - before["gate.2.bias"]).abs().max() > 0.1
    assert all(torch.isfinite(parameter).all() for parameter in model.net.parameters())
