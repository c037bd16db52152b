"""Tail exposure: a bonus for items outside the most popular fifth, by the user's own history."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Int64
from chronotope.inference.ranking import Ranking, TopRanked
from chronotope.inference.rerank import Mask, expose_tail, own_tail_share
from chronotope.metrics.exposure import tail_items

POOL_SIZE: Final = 200
"""Most probable items that are re-ranked, or k if that is more."""


@dataclass(frozen=True, slots=True)
class TailExposure:
    """Bonus of one user's list.

    Attributes:
        strength: Bonus of a user with nothing but items of the tail, nats; 0 changes nothing.
        is_tail: Items of the tail, bool, shape (n_items,).
        tail_share: Share of the tail in the user's history, shrunk to all users'.
    """

    strength: float
    is_tail: Mask
    tail_share: float

    @classmethod
    def of(
        cls, strength: float, item_counts: Int64, history_items: npt.NDArray[np.integer]
    ) -> Self:
        """Bonus for a history.

        Args:
            strength: See above.
            item_counts: Recent events of all users by item, shape (n_items,).
            history_items: Items of the user's events, shape (n_history,).
        """
        if not strength:
            return cls(0.0, np.zeros(0, np.bool_), 0.0)
        is_tail = tail_items(item_counts)
        return cls(strength, is_tail, own_tail_share(history_items, is_tail, item_counts))

    @property
    def policy(self) -> str:
        """Name of the policy, for the log of impressions."""
        return f"tail {self.strength:g}"

    def best(self, ranking: Ranking, k: int) -> TopRanked:
        """The k best allowed items with the bonus; scores are without it."""
        if not self.strength:
            return ranking.best(k)
        pool_items, pool_scores = ranking.best(max(k, POOL_SIZE))
        listed = expose_tail(
            pool_items, pool_scores, self.is_tail, self.tail_share, k, self.strength
        )
        return TopRanked(*listed)


NO_TAIL_EXPOSURE: Final = TailExposure(0.0, np.zeros(0, np.bool_), 0.0)
"""Changes nothing."""
