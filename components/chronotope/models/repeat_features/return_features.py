"""Return features: how long ago, how regularly and in which category a user had an item."""

from typing import Final

import torch
from torch import Tensor

from chronotope.models.batch import DAY_S, Batch, hour_distance, hours_between, local_hour, lookup
from chronotope.models.history_index import LARGEST, ItemRows

N_RETURN_FEATURES: Final = 11
"""Number of features of ``return_features``: seven of the item, four of its category."""

SHORT_H: Final = 0.5
"""Offset of ages and intervals in hours: shorter ones hardly differ."""

CATEGORY_DECAYS_H: Final = (3.0, 24.0)
"""Time constants of the decayed counts of a category."""


def return_features(
    rows: ItemRows, batch: Batch, item_category: Tensor, n_categories: int
) -> Tensor:
    """Ages, interval and shares of each item, of about unit size, (R, N_RETURN_FEATURES).

    With n events of the item, the latest ``a`` hours ago and all of them ``m`` hours ago on
    average, its usual interval is ``2 (m - a) / (n - 1)``: that of evenly spaced events. It is
    overdue by the log of ``a`` over that interval.

    Args:
        rows: Rows of the items.
        batch: The queries with their latest L events.
        item_category: Category of each item, int64, shape (n_items,).
        n_categories: Number of categories; a size of a table, open in an exported graph.
    """
    is_event = (batch.item_idx > 0).float()  # (B, L)
    age_h = hours_between(batch.request_s[:, None], batch.occurred_s) * is_event
    is_today = _is_request_day(batch) * is_event
    sums = rows.sum_by_item(torch.stack([is_event, age_h, is_today], dim=-1))  # (R, 3)
    n_item_events, total_age_h, n_today = sums.clamp(min=0.0).unbind(-1)
    n_item_events = n_item_events.clamp(min=1.0)
    last_h = rows.min_by_item(torch.where(is_event > 0, age_h, LARGEST))  # (R,)
    last_h = torch.where(last_h < LARGEST, last_h, 0.0)  # traced rows of padding have no event
    mean_h = torch.maximum(total_age_h / n_item_events, last_h)
    is_repeated = (n_item_events > 1.5).float()
    interval_h = 2.0 * (mean_h - last_h) / (n_item_events - 1.0).clamp(min=1.0)
    n_events = rows.repeat_query(is_event.sum(1, keepdim=True))[:, 0].clamp(min=1.0)  # (R,)
    log_last_h, log_interval_h = torch.log(last_h + SHORT_H), torch.log(interval_h + SHORT_H)
    item_columns = [
        log_last_h / 3.0 - 1.0,
        torch.log(mean_h + SHORT_H) / 3.0 - 1.0,
        (log_last_h - log_interval_h) * is_repeated / 2.0,
        is_repeated,
        (log_interval_h / 3.0 - 1.0) * is_repeated,
        torch.log1p(n_today),
        torch.log(n_item_events / n_events) / 3.0 + 1.0,
    ]
    category = lookup(item_category, batch.item_idx)  # (B, L)
    category_columns = _category_columns(rows, batch, category, n_categories)
    return torch.stack([*item_columns, *category_columns], dim=-1)


def _is_request_day(batch: Batch) -> Tensor:
    """1 at events of the local day of the request, (B, L)."""
    local_s = batch.occurred_s + 60 * batch.utc_offset_min
    request_local_s = batch.request_s + 60 * batch.request_offset_min
    day = torch.div(local_s, DAY_S, rounding_mode="floor")
    request_day = torch.div(request_local_s, DAY_S, rounding_mode="floor")
    return (day == request_day[:, None]).float()


def _category_columns(
    rows: ItemRows, batch: Batch, category: Tensor, n_categories: int
) -> tuple[Tensor, ...]:
    """Share of an item's category in the history, its decayed counts, share at the hour, (R,)."""
    is_event = (batch.item_idx > 0).float()
    age_h = hours_between(batch.request_s[:, None], batch.occurred_s)
    request_hour = local_hour(batch.request_s, batch.request_offset_min)[:, None]  # (B, 1)
    event_hour = local_hour(batch.occurred_s, batch.utc_offset_min)
    hours_apart = hour_distance(event_hour, request_hour)
    at_hour = torch.exp(-0.5 * hours_apart.square()) * is_event
    decayed = [torch.exp(-age_h / decay_h) * is_event for decay_h in CATEGORY_DECAYS_H]
    weights = torch.stack([is_event, *decayed, at_hour], dim=-1)  # (B, L, 4)
    column = category[..., None].expand_as(weights)
    sums = weights.new_zeros(weights.shape[0], n_categories, weights.shape[2])
    sums = sums.scatter_add(1, column, weights).gather(1, column)  # (B, L, 4)
    n_category, *n_decayed, n_at_hour = rows.select(sums).unbind(-1)  # each (R,)
    totals = torch.stack([is_event.sum(1), at_hour.sum(1)], dim=1)  # (B, 2)
    n_events, total_at_hour = rows.repeat_query(totals).unbind(-1)
    share = n_category.clamp(min=1.0) / n_events.clamp(min=1.0)
    return (
        torch.log(share) / 3.0 + 1.0,
        *(torch.log1p(count) for count in n_decayed),
        torch.log((n_at_hour + share) / (total_at_hour + 1.0)) / 3.0 + 1.0,
    )
