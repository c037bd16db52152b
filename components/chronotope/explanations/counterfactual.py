"""Counterfactuals: the fewest events without which an item would not be in the list.

Greedy search: of the events with the largest effects, that one is removed without which the item's
probability falls most, until its rank is past the end of the list; then each removed event whose
return leaves the rank past the end is put back. The set is irreducible, and not proven to be the
smallest. Where the search fails, all events of the item itself are removed together.
"""

from typing import Final, NamedTuple

import numpy as np

from chronotope.artifact.item_index import Mask
from chronotope.contracts.event_log import Int64
from chronotope.explanations.event_effects import EventEffect
from chronotope.explanations.occlusion import HistoryOcclusion

MAX_REMOVED: Final = 8
"""Most events of a set: a longer one explains nothing to a reader."""

N_CANDIDATES: Final = 16
"""Events that each step of the search tries."""


class Counterfactual(NamedTuple):
    """A history without some events.

    Attributes:
        position: Positions of the removed events in the history of the query, ascending, (n,).
        rank: Rank of the item without them.
        probability: Probability of the item without them.
        is_whole_item: Whether these are all events of the item itself.
    """

    position: Int64
    rank: int
    probability: float
    is_whole_item: bool


def find_counterfactual(
    occlusion: HistoryOcclusion, effects: EventEffect, list_len: int
) -> Counterfactual | None:
    """Events without which an item would not be among the first ``list_len``.

    Args:
        occlusion: The query, the model and the one item, k = 1.
        effects: Effects of the events on this item, k = 1.
        list_len: Length of the list.

    Returns:
        None if the item is not in the list anyway, or no set was found.
    """
    if effects.rank[0] > list_len or not len(effects.position):
        return None
    search = _Search(occlusion)
    strongest = effects.position[np.argsort(-effects.effect[:, 0], kind="stable")]
    removed = search.remove_greedily(strongest[:N_CANDIDATES], list_len)
    if removed is not None:
        return search.counterfactual(search.put_back(removed, list_len), is_whole_item=False)
    own_events = occlusion.query.item_idx == occlusion.item_idx[0]  # (1, H)
    without_own = search.counterfactual(own_events[0], is_whole_item=True)
    return without_own if own_events.any() and without_own.rank > list_len else None


class _Search(NamedTuple):
    """Runs of the model for one item.

    Attributes:
        occlusion: The query, the model and the one item.
    """

    occlusion: HistoryOcclusion

    def remove_greedily(self, candidates: Int64, list_len: int) -> Mask | None:
        """Events removed until the rank is past the list, shape (H,); None if it never is."""
        removed = np.zeros(self.occlusion.n_events, np.bool_)
        remaining = list(candidates)
        while remaining and removed.sum() < MAX_REMOVED:
            trials = np.repeat(removed[None], len(remaining), axis=0)
            trials[np.arange(len(remaining)), remaining] = True
            item_scores = self.occlusion.run(trials)
            best = int(item_scores.log_probability[:, 0].argmin())
            removed[remaining.pop(best)] = True
            if item_scores.rank[best, 0] > list_len:
                return removed
        return None

    def put_back(self, removed: Mask, list_len: int) -> Mask:
        """The set without the events that it does not need, shape (H,)."""
        for position in np.flatnonzero(removed):
            smaller = removed.copy()
            smaller[position] = False
            if smaller.any() and self.occlusion.run(smaller[None]).rank[0, 0] > list_len:
                removed = smaller
        return removed

    def counterfactual(self, removed: Mask, *, is_whole_item: bool) -> Counterfactual:
        """Rank and probability without some events."""
        item_scores = self.occlusion.run(removed[None])
        return Counterfactual(
            np.flatnonzero(removed),
            int(item_scores.rank[0, 0]),
            float(np.exp(item_scores.log_probability[0, 0])),
            is_whole_item,
        )
