"""Recommender under user-level differential privacy: noisy counts, and noisy steps of training.

The parameters start at a checkpoint that was trained on other data and cost no privacy. The
counts are one release of the Gaussian mechanism; steps of DP-SGD follow, and both together spend
the budget.
"""

from typing import Self

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.models.config import ModelConfig
from chronotope.models.priors import Priors
from chronotope.training.config import SCRATCH, SHIPPED, TrainingConfig
from chronotope.training.private.accountant import NoisySteps, noise_for_steps
from chronotope.training.private.config import PrivateTrainingConfig
from chronotope.training.private.dp_sgd import train_privately
from chronotope.training.private.gaussian_noise import noise_multiplier
from chronotope.training.private.private_counts import PrivacyBudget, private_priors
from chronotope.training.recommender import ChronotopeRecommender

COUNTS_ONLY = PrivateTrainingConfig(steps=0)
"""Parameters stay those of the checkpoint; the counts get the whole budget."""


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
        # Whether kernels of returns are needed is not decided by the log: that would be exact.
        super().__init__(
            ModelConfig(history_len=history_len, content=False, repeat_kernels=True),
            TrainingConfig(init=checkpoint, transfer_epochs=0),
        )
        self.budget, self.private_training = budget, private_training
        self._noise_seed = noise_seed

    def observe(self, log: EventLog) -> None:
        """Nothing: to count again would be another release."""

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Load the parameters, release the counts of a log, and train under noise, once."""
        super().fit(log, catalog)
        self._priors = self._release(log, catalog)
        self._seen_until_s = int(log.occurred_s.max(initial=0))
        if self.private_training.steps:
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

    def _release(self, log: EventLog, catalog: Catalog) -> Priors:
        multiplier = self._count_noise()
        return private_priors(
            log, catalog, self.budget, multiplier=multiplier, seed=self._noise_seed
        )
