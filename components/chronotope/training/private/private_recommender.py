"""Recommender under user-level differential privacy: noisy counts, and noisy steps of training.

The parameters start at a checkpoint that was trained on other data and cost no privacy. The
counts are one release of the Gaussian mechanism; steps of DP-SGD follow, and both together spend
the budget.

Where the released counts say that no item comes back to a user, the checkpoint's parameters, which
copy from the history, are replaced by constants, and the budget of the steps releases pairs of
items instead, or, where the counts of few items are above the noise, these counts once more.
"""

from typing import Final, Self

import numpy as np
import torch

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.models.config import ModelConfig
from chronotope.training.config import SCRATCH, SHIPPED, TrainingConfig
from chronotope.training.private.accountant import (
    NoisySteps,
    noise_for_steps,
    noise_instead_of_steps,
)
from chronotope.training.private.config import PrivateTrainingConfig
from chronotope.training.private.dp_sgd import train_privately
from chronotope.training.private.gaussian_noise import noise_multiplier
from chronotope.training.private.new_items_only import rank_new_items_only
from chronotope.training.private.private_counts import (
    PrivacyBudget,
    ReleasedCounts,
    more_item_counts,
    release_counts,
)
from chronotope.training.private.private_pairs import release_pairs
from chronotope.training.recommender import ChronotopeRecommender

COUNTS_ONLY = PrivateTrainingConfig(steps=0)
"""Parameters stay those of the checkpoint; the counts get the whole budget."""

MIN_KNOWN_ITEMS: Final = 50
"""Items whose counts have to be above the noise before pairs of them are released."""


class PrivateRecommender(ChronotopeRecommender):
    """Recommender whose ``fit`` spends a budget once; its counts are never exact."""

    def __init__(
        self,
        budget: PrivacyBudget,
        *,
        history_len: int = ModelConfig().history_len,
        init: str = SCRATCH,
        private_training: PrivateTrainingConfig = COUNTS_ONLY,
        noise_seed: int | None = None,
    ) -> None:
        """Configure.

        Args:
            budget: Budget of ``fit``.
            history_len: Latest events of a history that the model counts.
            init: Checkpoint of other data; scratch takes that of the package.
            private_training: Steps under noise.
            noise_seed: Seed of the noise, for tests alone.
        """
        checkpoint = SHIPPED if init == SCRATCH else init
        super().__init__(
            ModelConfig(history_len=history_len, content=False, repeat_kernels=True),
            TrainingConfig(init=checkpoint, transfer_epochs=0),
        )
        self.budget, self.private_training = budget, private_training
        self._noise_seed = noise_seed

    def observe(self, log: EventLog) -> None:
        """Nothing: to count again would be another release."""

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Release the counts of a log, load the parameters, and train under noise, once."""
        counts = self._release(log, catalog)
        # An exact share of repeats would be a release of its own, so the noisy one decides
        self.model = self.model.model_copy(update={"repeat_kernels": counts.has_repeats})
        super().fit(log, catalog)
        self._priors = counts.priors
        self._seen_until_s = int(log.occurred_s.max(initial=0))
        if not self.model.scores_repeats:
            self._rank_new_items(log, counts)
        elif self.private_training.steps:
            train_privately(
                self.net,
                log,
                self._priors,
                self.training,
                self.private_training,
                self.step_noise(),
                seed=self._noise_seed,
            )
        return self

    def _rank_new_items(self, log: EventLog, counts: ReleasedCounts) -> None:
        """Constants for a log without repeats; pairs or counts for the budget of the steps."""
        has_pairs, item_counts = False, counts.item_counts
        if self.private_training.steps:
            noise = self.noise_instead_of_steps()
            seed = None if self._noise_seed is None else self._noise_seed + 1
            has_pairs = counts.n_known_items() >= MIN_KNOWN_ITEMS
            if has_pairs:
                items, weights = release_pairs(log, self.priors.popularity, noise, seed=seed)
                self._priors = self.priors._replace(affinity_item=items, affinity_weight=weights)
            else:
                item_counts = more_item_counts(log, counts, noise, seed=seed)
        # Not cut at the noise: the order of uncertain counts is better than a tie
        popularity = torch.from_numpy(np.log1p(np.maximum(item_counts, 0.0))).float()
        self._priors = self.priors._replace(popularity=popularity)
        rank_new_items_only(self.net, has_pairs=has_pairs)

    def noise_instead_of_steps(self) -> float:
        """Noise multiplier of the release that a log without repeats gets instead of steps."""
        steps = self.private_training
        return noise_instead_of_steps(
            self.budget.delta,
            NoisySteps(self.step_noise(), steps.sample_rate, steps.steps),
            NoisySteps(self._count_noise(), 1.0, 1),
        )

    def step_noise(self) -> float:
        """Noise multiplier of the steps: with the counts they spend the budget."""
        steps = self.private_training
        return noise_for_steps(
            *self.budget,
            sample_rate=steps.sample_rate,
            n_steps=steps.steps,
            counts=NoisySteps(self._count_noise(), 1.0, 1),
        )

    def _count_noise(self) -> float:
        """Noise multiplier of the counts."""
        share = self.private_training.counts_share if self.private_training.steps else 1.0
        return noise_multiplier(share * self.budget.epsilon, self.budget.delta)

    def _release(self, log: EventLog, catalog: Catalog) -> ReleasedCounts:
        multiplier = self._count_noise()
        return release_counts(
            log, catalog, self.budget, multiplier=multiplier, seed=self._noise_seed
        )
