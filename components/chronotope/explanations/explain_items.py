"""Explanations of items for one query: events that made the score, and a counterfactual."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from chronotope.contracts.event_log import Float32, Int64
from chronotope.contracts.queries import Queries
from chronotope.explanations.counterfactual import Counterfactual, find_counterfactual
from chronotope.explanations.event_effects import EventEffect, event_effects
from chronotope.explanations.occlusion import HistoryOcclusion

MIN_EFFECT: Final = 0.01
"""Effects below it, about one percent of a probability, are not shown."""

N_SHOWN: Final = 5
"""Events that an explanation names."""


class InfluentialEvent(NamedTuple):
    """An event that raised the score of an item.

    Attributes:
        position: Position in the history of the query.
        effect: Effect on the log-probability (see ``event_effects``).
        probability_without: Probability of the item without this event.
        rank_without: Rank of the item without this event.
    """

    position: int
    effect: float
    probability_without: float
    rank_without: int


class Explanation(NamedTuple):
    """Explanation of one item.

    Attributes:
        rank: 1 is the most probable of all items.
        probability: Over the whole catalogue.
        events: Events that raised it most, the strongest first.
        counterfactual: Events without which it would not be in the list; None if it is not in
            the list, or no such set was found or asked for.
    """

    rank: int
    probability: float
    events: tuple[InfluentialEvent, ...]
    counterfactual: Counterfactual | None


def explain_scores(
    score: Callable[[Queries], Float32],
    query: Queries,
    item_idx: Int64,
    *,
    list_len: int,
    counterfactuals: bool,
) -> list[Explanation]:
    """Explanation of each of k items.

    Args:
        score: Logits of a batch of queries, shape (B, n_items).
        query: A batch of size 1.
        item_idx: Items, shape (k,).
        list_len: Length of the list that a counterfactual takes an item out of.
        counterfactuals: Whether to search them: some hundred runs an item.
    """
    occlusion = HistoryOcclusion(score, query, item_idx)
    effects = event_effects(occlusion)
    return [
        Explanation(
            int(effects.rank[slot]),
            float(np.exp(effects.log_probability[slot])),
            _influential_events(effects, slot),
            find_counterfactual(
                HistoryOcclusion(score, query, item_idx[slot : slot + 1]),
                effects.for_item(slot),
                list_len,
            )
            if counterfactuals
            else None,
        )
        for slot in range(len(item_idx))
    ]


def _influential_events(effects: EventEffect, slot: int) -> tuple[InfluentialEvent, ...]:
    """Events with the largest effects on an item; of equal effects the later event first."""
    rows = np.arange(len(effects.position))
    strongest = np.lexsort((-rows, -effects.effect[:, slot]))[:N_SHOWN]
    return tuple(
        InfluentialEvent(
            int(effects.position[row]),
            float(effects.effect[row, slot]),
            float(np.exp(effects.log_probability_without[row, slot])),
            int(effects.rank_without[row, slot]),
        )
        for row in strongest
        if effects.effect[row, slot] >= MIN_EFFECT
    )
