"""Context of a query: the features that the gates read."""

import torch
from torch import Tensor

from chronotope.models.batch import Batch, hours_between, local_hour, local_weekday

N_LATEST = 8
"""Latest events whose novelty is measured."""

N_CONTEXT = 12 + 3


def query_context(batch: Batch, recent: Batch, is_first: Tensor) -> Tensor:
    """Hour, weekend, gaps, length of the history and share of distinct items.

    Args:
        batch: B queries.
        recent: The queries with their latest L events.
        is_first: 1 at one event of each distinct item of the latest events, shape (B, L).

    Returns:
        Features of about unit size, shape (B, N_CONTEXT).
    """
    is_event = (recent.item_idx > 0).float()
    request_s, offset_min = batch.request_s, batch.request_offset_min
    last_s, time_given = batch.occurred_s[:, -1], batch.time_given
    hour_angle = local_hour(request_s, offset_min) * (torch.pi / 12.0)
    n_recent = is_event.sum(1)
    gap_h = hours_between(request_s, last_s) * is_event[:, -1]
    last_gap_h = hours_between(last_s, recent.occurred_s[:, -2]) * is_event[:, -2]
    return torch.stack(
        [
            hour_angle.sin(),
            hour_angle.cos(),
            (2 * hour_angle).sin(),
            (2 * hour_angle).cos(),
            (local_weekday(request_s, offset_min) >= 5).float(),
            torch.log1p(gap_h) / 3.0,
            (gap_h < 3.0).float() * time_given,
            torch.log1p(last_gap_h) / 3.0,
            torch.log1p((batch.item_idx > 0).float().sum(1)) / 4.0,
            is_first.sum(1) / n_recent.clamp(min=1.0),
            time_given,
            (n_recent > 0).float(),
            *_novelty(recent.item_idx),
        ],
        dim=1,
    )


def _novelty(item_idx: Tensor) -> tuple[Tensor, ...]:
    """Novelty of the last item, log count of it, and share of new items, each (B,)."""
    latest_items = item_idx[:, -N_LATEST:]
    positions = torch.arange(item_idx.shape[1], device=item_idx.device)
    is_equal = latest_items[:, :, None] == item_idx[:, None, :]  # (B, N_LATEST, L)
    is_earlier = is_equal & (positions < positions[-latest_items.shape[1] :, None])
    is_event = (latest_items > 0).float()
    is_new = (~is_earlier.any(-1)).float() * is_event  # (B, N_LATEST)
    last_count = is_equal[:, -1].float().sum(1) * is_event[:, -1]
    new_share = is_new.sum(1) / is_event.sum(1).clamp(min=1.0)
    return is_new[:, -1], torch.log1p(last_count) / 3.0, new_share
