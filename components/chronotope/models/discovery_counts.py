"""Counts of all users that rank items for a user who never had them.

``activity`` holds windows that end now (``features.activity_counts``); ``affinity`` holds the
strongest weights of EASE.
"""

from typing import Final

import torch
from torch import Tensor

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.features.activity_counts import ActivityCounter
from chronotope.models.baselines.ease import Ease, EaseConfig

N_AFFINE: Final = 32
"""Items with the strongest EASE weights that are stored for each item."""

MAX_AFFINE_ITEMS: Final = 5_000
"""Most popular items among which EASE is solved; the cost is cubic in them."""


def activity_counter(log: EventLog, catalog: Catalog) -> ActivityCounter:
    """Counter of the live counts of a log.

    Args:
        log: All events.
        catalog: Categories of the items.
    """
    return ActivityCounter(log.user_idx, log.item_idx, log.occurred_s, catalog.item_category)


def count_activity(log: EventLog, catalog: Catalog) -> Tensor:
    """Live counts after the last event of a log, shape (len(ACTIVITY_NAMES), n_items).

    Args:
        log: All events before the moment.
        catalog: Categories of the items.
    """
    moment_s = int(log.occurred_s.max(initial=0)) + 1
    return torch.from_numpy(activity_counter(log, catalog).at(moment_s))


def count_affinity(log: EventLog, catalog: Catalog) -> tuple[Tensor, Tensor]:
    """Items with the strongest EASE weights of each item, and the weights.

    Args:
        log: Events that are fitted.
        catalog: Size of the catalogue.

    Returns:
        Item indices, int64, and positive weights, float32, 0 where there are fewer; both of
        shape (n_items, N_AFFINE), strongest first.
    """
    ease = Ease(EaseConfig(max_items=MAX_AFFINE_ITEMS)).fit(log, catalog)
    return strongest_affinity(*ease.fitted_weights(), catalog.n_items)


def strongest_affinity(
    fitted_items: Tensor, weights: Tensor, n_items: int
) -> tuple[Tensor, Tensor]:
    """Tables of ``count_affinity`` from fitted weights.

    Args:
        fitted_items: Items of the weights, int64, shape (n,).
        weights: Weights of EASE, shape (n, n).
        n_items: Size of the catalogue.
    """
    n_columns = min(N_AFFINE, len(fitted_items))
    top_weights, top_columns = torch.topk(weights, n_columns, dim=1)
    affine_items = torch.zeros(n_items, N_AFFINE, dtype=torch.int64)
    affine_weights = torch.zeros(n_items, N_AFFINE)
    affine_items[fitted_items, :n_columns] = fitted_items[top_columns]
    affine_weights[fitted_items, :n_columns] = top_weights.clamp(min=0.0)
    return affine_items, affine_weights


def no_affinity(n_items: int) -> tuple[Tensor, Tensor]:
    """Tables without columns, for a network that does not read them."""
    return torch.zeros(n_items, 0, dtype=torch.int64), torch.zeros(n_items, 0)
