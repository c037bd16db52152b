"""Exposure of new items: a share of the lists ends with one of them, so that feedback finds it.

With probability e, a list is the greedy one whose last item is replaced by an item u, drawn from
the n new items that the request allows; if u is in the list already, nothing is replaced. Half of
the draws are uniform, so that each item is shown; half follow the model's probabilities p among
the new items, so that an item is shown to those whom it fits:

    w_u = 1 / (2 n) + p_u / (2 sum of all p)

So the propensity of an item in a position of such a list is

    1                               before the last position, for the greedy item there
    sum of w over the list's items  in the last position, for the greedy item there
    w_u                             in the last position, for a new item u that is not in the list
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from chronotope.contracts.event_log import Float64, Int32, Int64
from chronotope.inference.new_items import GrownChampion, NewItemReader
from chronotope.inference.ranking import Ranking

MAX_EVENTS = 4
"""Events with which an item is still new, as in the cold-start scores of the network."""

NEW_DAYS = 28
"""Days after its post in which a posted item is new, also to a model that was trained with it."""

_NEW_STREAM = 0x6E6577  # apart from the draws of other exploration with the same seed


def _no_items() -> Int64:
    return np.empty(0, np.int64)


def _no_rates() -> Float64:
    return np.empty(0)


@dataclass(frozen=True, slots=True)
class NewItemExposure:
    """Exposure of new items in one list.

    Attributes:
        share: Probability e of a list with a new item.
        item_idx: New items, shape (n,).
        log_rates: Their log-probabilities but for one constant, shape (n,); of a list without
            ranking none.
    """

    share: float = 0.0
    item_idx: Int64 = field(default_factory=_no_items)
    log_rates: Float64 = field(default_factory=_no_rates)

    def allowed(self, ranking: Ranking) -> "NewItemExposure":
        """Exposure of the items that a request allows; share 0 if there are none.

        Args:
            ranking: Ranking of the items.
        """
        item_idx = ranking.allowed_items(self.item_idx)
        share = self.share if len(item_idx) else 0.0
        return NewItemExposure(share, item_idx, ranking.relative_scores(item_idx))

    def is_drawn(self, seed: str) -> bool:
        """Whether a list shows a new item; equal seeds give equal draws.

        Args:
            seed: Seed of the draw.
        """
        return bool(self.share) and bool(_generator(seed).random() < self.share)

    def shown_items(self, greedy_items: Int64, seed: str) -> Int64:
        """The greedy list with a new item in its last position, shape (k,).

        Args:
            greedy_items: The greedy list, shape (k,).
            seed: Seed of the draw.
        """
        random_generator = _generator(seed)
        random_generator.random()  # that of ``is_drawn``
        new_item = random_generator.choice(self.item_idx, p=self._weights())
        exposed_list = greedy_items.copy()
        if new_item not in greedy_items:
            exposed_list[-1] = new_item
        return exposed_list

    def propensities(self, shown_items: Int64, greedy_items: Int64) -> Float64:
        """Probability that ``shown_items`` puts items in positions, shape (k,).

        Args:
            shown_items: A list, shape (k,).
            greedy_items: The greedy list, shape (k,).
        """
        list_propensities: Float64 = (shown_items == greedy_items).astype(np.float64)
        if not len(shown_items):
            return list_propensities
        draw_weights, last_item = self._weights(), shown_items[-1]
        if last_item == greedy_items[-1]:
            list_propensities[-1] = draw_weights[np.isin(self.item_idx, greedy_items)].sum()
        elif last_item not in greedy_items:
            list_propensities[-1] = draw_weights[self.item_idx == last_item].sum()
        return list_propensities

    def _weights(self) -> Float64:
        """Probability of each new item to be drawn, shape (n,)."""
        relative_rates = np.exp(self.log_rates - self.log_rates.max(initial=-np.inf))
        draw_weights: Float64 = (
            0.5 / len(relative_rates) + 0.5 * relative_rates / relative_rates.sum()
        )
        return draw_weights


def exposed_items(
    event_item_idx: Int32, grown: GrownChampion, new_items: NewItemReader | None
) -> Int64:
    """New items of a model with hardly an event.

    They are the ones that came after its training, and those that were posted lately.

    Args:
        event_item_idx: Item of each event in the lake, shape (n_events,).
        grown: The model with its new items.
        new_items: Reader of the new items; None if there are none.
    """
    if new_items is None:
        return _no_items()
    earliest_post = datetime.now(UTC) - timedelta(days=NEW_DAYS)
    new_ids = sorted({*grown.rows, *new_items.posted_since(earliest_post)})
    item_idx = grown.champion.vocabulary.items.index(new_ids).astype(np.int64)
    item_idx = item_idx[item_idx > 0]
    n_events = np.bincount(event_item_idx, minlength=grown.champion.vocabulary.items.size)
    return item_idx[n_events[item_idx] <= MAX_EVENTS]


def _generator(seed: str) -> np.random.Generator:
    return np.random.default_rng([_NEW_STREAM, *seed.encode()])
