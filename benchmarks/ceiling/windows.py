"""Windows of time, and the baskets in them whose items are predicted."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from chronotope.contracts.event_log import EventLog, Int32, Int64
from chronotope.pipelines.holdout import SELECTION_SHARE
from chronotope.splitting.targets import targets_between

SHARES: Final = {"earlier": (0.7, 0.8), "development": (0.8, 0.9), "holdout": (0.9, 1.0)}
"""Shares of the events, by time, before which models are fitted and until which targets lie."""

MAX_HOLDOUT_TARGETS: Final = 4_000
"""Targets of the demo's holdout."""


@dataclass(frozen=True, slots=True)
class BasketTargets:
    """Targets of one window, by the basket they are bought in.

    Attributes:
        train_end_s: End of the events that models are fitted on, UTC seconds.
        basket_position: Position in the log of each basket's first event, shape (n_baskets,).
        basket_end: Position after its last event, shape (n_baskets,).
        target_basket: Basket of each target, shape (n_targets,).
        target_item_idx: Item of each target, shape (n_targets,).
        target_user_idx: User of each target, shape (n_targets,).
    """

    train_end_s: int
    basket_position: Int64
    basket_end: Int64
    target_basket: Int64
    target_item_idx: Int32
    target_user_idx: Int32


def window_targets(log: EventLog, window: str, max_baskets: int, seed: int) -> BasketTargets:
    """All events of randomly drawn baskets; in the holdout the targets of the demo.

    Targets lie in the last part of a window, as those of the demo do: the first
    ``SELECTION_SHARE`` of its time is left out.

    Args:
        log: All events.
        window: One of ``SHARES``.
        max_baskets: Most baskets that are drawn outside the holdout.
        seed: Seed of the sample of baskets.
    """
    first_share, last_share = SHARES[window]
    train_end_s = _quantile_s(log, first_share)
    is_holdout = window == "holdout"
    end_s = int(log.occurred_s.max()) + 1 if is_holdout else _quantile_s(log, last_share)
    start_s = int(train_end_s + SELECTION_SHARE * (end_s - train_end_s))
    max_targets = MAX_HOLDOUT_TARGETS if is_holdout else None
    targets = targets_between(log, start_s, end_s, max_targets=max_targets)
    target_start = log.basket_start()[targets]
    basket_position = np.unique(target_start)
    if not is_holdout and len(basket_position) > max_baskets:
        drawn = np.random.default_rng(seed).choice(basket_position, max_baskets, replace=False)
        basket_position = np.sort(drawn)
    is_drawn = np.isin(target_start, basket_position)
    targets, target_start = targets[is_drawn], target_start[is_drawn]
    all_starts = np.append(np.unique(log.basket_start()), len(log))
    return BasketTargets(
        train_end_s=train_end_s,
        basket_position=basket_position,
        basket_end=all_starts[np.searchsorted(all_starts, basket_position) + 1],
        target_basket=np.searchsorted(basket_position, target_start),
        target_item_idx=log.item_idx[targets],
        target_user_idx=log.user_idx[targets],
    )


def _quantile_s(log: EventLog, share: float) -> int:
    return int(np.quantile(log.occurred_s, share, method="higher"))
