"""Recommender under user-level differential privacy: public parameters, noisy counts.

The parameters are those of a checkpoint that was trained on other data and cost no privacy. The
counts are one release of the Gaussian mechanism, so the whole model has the budget of that release.
"""

from typing import Self

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.models.config import ModelConfig
from chronotope.models.priors import Priors
from chronotope.training.config import SCRATCH, SHIPPED, TrainingConfig
from chronotope.training.private.private_counts import PrivacyBudget, private_priors
from chronotope.training.recommender import ChronotopeRecommender


class PrivateRecommender(ChronotopeRecommender):
    """Recommender whose ``fit`` is one release; its counts are never exact."""

    def __init__(
        self,
        budget: PrivacyBudget,
        *,
        history_len: int = ModelConfig().history_len,
        init: str = SCRATCH,
        noise_seed: int | None = None,
    ) -> None:
        """Configure.

        Args:
            budget: Budget of ``fit``.
            history_len: Latest events of a history that the model counts.
            init: Checkpoint of other data; scratch takes that of the package.
            noise_seed: Seed of the noise, for tests alone.
        """
        checkpoint = SHIPPED if init == SCRATCH else init
        super().__init__(
            ModelConfig(history_len=history_len, content=False),
            TrainingConfig(init=checkpoint, transfer_epochs=0),
        )
        self.budget, self._noise_seed = budget, noise_seed

    def observe(self, log: EventLog) -> None:
        """Nothing: to count again would be another release."""

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Load the parameters and release the counts of a log, once."""
        super().fit(log, catalog)
        self._priors = self._release(log, catalog)
        self._seen_until_s = int(log.occurred_s.max(initial=0))
        return self

    def _release(self, log: EventLog, catalog: Catalog) -> Priors:
        return private_priors(log, catalog, self.budget, seed=self._noise_seed)
