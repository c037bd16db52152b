"""Recommender whose parameters and counts come from a federation."""

from typing import Self

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.federated.coordinator import FederatedModel
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender


class FederatedRecommender(ChronotopeRecommender):
    """Recommender that has no log of its own: it is neither fitted nor counted again."""

    def __init__(
        self,
        federated: FederatedModel,
        catalog: Catalog,
        training: TrainingConfig,
        seen_until_s: int,
    ) -> None:
        """Take over network and priors.

        Args:
            federated: Result of a federation.
            catalog: The shared catalogue.
            training: Configuration of the training.
            seen_until_s: End of the training, UTC seconds.
        """
        super().__init__(federated.shared_net.config, training)
        self._net, self._priors = federated.shared_net, federated.priors
        self._catalog, self._seen_until_s = catalog, seen_until_s

    def observe(self, log: EventLog) -> None:
        """Nothing: the counts are those of all clients."""

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """The model as it is."""
        del log, catalog
        return self
