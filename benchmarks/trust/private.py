"""Accuracy and membership attacks of models with noisy counts, by the privacy budget."""

from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.rows import Row
from benchmarks.trust.private_attacks import private_attack_rows
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import Queries
from chronotope.metrics import bootstrap_interval, evaluate, ndcg
from chronotope.models.config import ModelConfig
from chronotope.splitting.targets import targets_between
from chronotope.training.config import TrainingConfig
from chronotope.training.private.config import PrivateTrainingConfig
from chronotope.training.private.gaussian_noise import noise_multiplier
from chronotope.training.private.private_counts import (
    MAX_NORM,
    Histogram,
    PrivacyBudget,
    bound_events,
    clipped_counts,
)
from chronotope.training.private.private_recommender import PrivateRecommender
from chronotope.training.recommender import ChronotopeRecommender

EPSILONS: Final = (1.0, 3.0, 8.0)
ATTACKED_EPSILONS: Final = (3.0, 8.0)
DELTA: Final = 1e-5
MAX_TARGETS: Final = 2_000
TRAINING: Final = PrivateTrainingConfig(steps=20)
"""Noisy steps; chosen on MovieLens with an earlier end of the training."""


class PrivatePopularity:
    """Popularity with the whole budget on one histogram, bounded as the counts of the model."""

    name, history_len = "private popularity", 1

    def __init__(self, budget: PrivacyBudget, seed: int) -> None:
        """Configure; the seed is that of the noise."""
        self.budget, self.seed = budget, seed
        self._counts: Float64 = np.empty(0)

    def fit(self, log: EventLog, catalog: Catalog) -> "PrivatePopularity":
        """Release the counts."""
        rng = np.random.default_rng(self.seed)
        bounded = bound_events(log, rng)
        histogram = Histogram(bounded.user_idx, bounded.item_idx, catalog.n_items)
        deviation = noise_multiplier(*self.budget) * MAX_NORM
        self._counts = clipped_counts(histogram) + rng.normal(0.0, deviation, catalog.n_items)
        return self

    def observe(self, log: EventLog) -> None:
        """Nothing: to count again would be another release."""

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Noisy counts, shape (B, n_items)."""
        return np.tile(self._counts, (len(queries), 1))


def private_rows(name: str, log: EventLog, catalog: Catalog, end_s: int, seed: int) -> list[Row]:
    """Share of the NDCG@10 of a training without noise, by budget.

    Args:
        name: Name of the data set.
        log: All events.
        catalog: Its catalogue.
        end_s: End of the training events, UTC seconds.
        seed: Seed of training, noise and users.
    """
    past, last_s = log.before(end_s), int(log.occurred_s.max()) + 1
    targets = targets_between(log, end_s, last_s, max_targets=MAX_TARGETS, seed=seed)
    trained = ChronotopeRecommender(ModelConfig(content=False), TrainingConfig(seed=seed))
    central = _ndcg(trained.fit(past, catalog), log, targets, catalog)
    users, mean_ndcg = log.user_idx[targets], float(central.mean())
    rows = []
    for epsilon in EPSILONS:
        budget = PrivacyBudget(epsilon, DELTA)
        for measure, model in (
            ("dp_share", PrivateRecommender(budget, noise_seed=seed)),
            (
                "dp_trained_share",
                PrivateRecommender(budget, private_training=TRAINING, noise_seed=seed),
            ),
            ("dp_popularity_share", PrivatePopularity(budget, seed)),
        ):
            values = _ndcg(model.fit(past, catalog), log, targets, catalog)
            share = bootstrap_interval(values / mean_ndcg, users)
            rows.append(
                {
                    "dataset": name,
                    "measure": f"{measure}_eps_{epsilon:g}",
                    "value": round(share.estimate, 4),
                    "low": round(share.low, 4),
                    "high": round(share.high, 4),
                    "note": f"of NDCG@10 {mean_ndcg:.4f} without noise; delta {DELTA:g}",
                }
            )
    return rows


def attack_rows(
    name: str, log: EventLog, catalog: Catalog, end_s: int, seed: int, *, n_divisions: int
) -> list[Row]:
    """Membership attacks on models with noisy steps.

    Args:
        name: Name of the data set.
        log: All events.
        catalog: Its catalogue.
        end_s: End of the training events, UTC seconds.
        seed: Seed of divisions and noise.
        n_divisions: Divisions of the users into halves that are attacked.
    """
    budgets = [PrivacyBudget(epsilon, DELTA) for epsilon in ATTACKED_EPSILONS]
    return private_attack_rows(
        name, log, catalog, end_s, seed, budgets, TRAINING, n_divisions=n_divisions
    )


def _ndcg(model: Recommender, log: EventLog, targets: Int64, catalog: Catalog) -> Float64:
    result = evaluate(model, log, targets, n_items=catalog.n_items, time_given=True)
    return np.asarray(ndcg(result.rank, 10), np.float64)
