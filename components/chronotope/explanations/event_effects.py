"""Effects of single events on the log-probability of an item.

With v(S) the log-probability of the item given the events S of a history N, the effect of event h
is the mean of its marginal contribution to the whole history and to an empty one,

    effect(h) = ((v(N) - v(N without h)) + (v({h}) - v({}))) / 2

The first part says what is missing without the event, the second what it says by itself: of ten
visits to one place each alone is dispensable, and yet they are why the place is recommended.

Source:
    Covert et al. (2021), Explaining by Removing, JMLR 22: both are removal-based explanations;
    the mean of the marginals of the smallest and the largest coalition is the semivalue with
    equal weight on these two.
"""

from typing import Final, NamedTuple

import numpy as np

from chronotope.contracts.event_log import Float64, Int64
from chronotope.explanations.occlusion import HistoryOcclusion

MAX_EVENTS: Final = 128
"""Latest events whose effects are computed."""


class EventEffect(NamedTuple):
    """Effects of n events on k items.

    Attributes:
        position: Positions of the events in the history of the query, shape (n,).
        effect: Mean of the two marginal contributions, natural logarithm, shape (n, k).
        log_probability_without: Without the event, shape (n, k).
        rank_without: Rank without the event, shape (n, k).
        log_probability: With the whole history, shape (k,).
        rank: With the whole history, shape (k,).
    """

    position: Int64
    effect: Float64
    log_probability_without: Float64
    rank_without: Int64
    log_probability: Float64
    rank: Int64

    def for_item(self, slot: int) -> "EventEffect":
        """Effects on one item alone, k = 1.

        Args:
            slot: Position of the item.
        """
        one = slice(slot, slot + 1)
        return EventEffect(
            self.position,
            self.effect[:, one],
            self.log_probability_without[:, one],
            self.rank_without[:, one],
            self.log_probability[one],
            self.rank[one],
        )


def event_effects(occlusion: HistoryOcclusion, max_events: int = MAX_EVENTS) -> EventEffect:
    """Effect of each of the latest events on each item.

    Args:
        occlusion: The query, the model and the items.
        max_events: Latest events whose effects are computed.
    """
    position = np.flatnonzero(occlusion.query.item_idx[0] > 0)[-max_events:]
    single = np.zeros((len(position), occlusion.n_events), np.bool_)
    single[np.arange(len(position)), position] = True
    nothing = np.zeros((1, occlusion.n_events), np.bool_)
    largest = occlusion.run(np.concatenate([nothing, single]))  # (1 + n, k)
    smallest = occlusion.run(np.concatenate([~nothing, ~single]))  # (1 + n, k)
    without = largest.log_probability[1:]
    from_whole = largest.log_probability[:1] - without
    from_empty = smallest.log_probability[1:] - smallest.log_probability[:1]
    return EventEffect(
        position,
        mean_effects(from_whole, from_empty),
        without,
        largest.rank[1:],
        largest.log_probability[0],
        largest.rank[0],
    )


def mean_effects(from_whole: Float64, from_empty: Float64) -> Float64:
    """Mean of the marginal contributions to the whole and to the empty history, same shape."""
    return (from_whole + from_empty) / 2
