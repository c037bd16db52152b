"""The context of a query: what the gates listen to."""

import torch
from torch import Tensor

from chronotope.models.batch import Batch, hours_between, local_hour, local_weekday

N_LATEST = 8
"""Events whose novelty is looked at."""

N_CONTEXT = 12 + 3


def query_context(batch: Batch, recent: Batch, is_first: Tensor) -> Tensor:
    """Hour, weekend, gaps, length of the history and share of distinct items.

    Args:
        batch: The queries.
        recent: The same with the latest L events only.
        is_first: 1 at one event of each distinct item of the recent past, shape (B, L).

    Returns:
        Features of about unit size, shape (B, N_CONTEXT).
    """
    valid = (recent.item_idx > 0).float()
    at, offset = batch.request_s, batch.request_offset_min
    last_s, given = batch.occurred_s[:, -1], batch.time_given
    angle = local_hour(at, offset) * (torch.pi / 12.0)
    n_recent = valid.sum(1)
    gap_h = hours_between(at, last_s) * valid[:, -1]
    last_gap_h = hours_between(last_s, recent.occurred_s[:, -2]) * valid[:, -2]
    return torch.stack(
        [
            angle.sin(),
            angle.cos(),
            (2 * angle).sin(),
            (2 * angle).cos(),
            (local_weekday(at, offset) >= 5).float(),
            torch.log1p(gap_h) / 3.0,
            (gap_h < 3.0).float() * given,
            torch.log1p(last_gap_h) / 3.0,
            torch.log1p((batch.item_idx > 0).float().sum(1)) / 4.0,
            is_first.sum(1) / n_recent.clamp(min=1.0),
            given,
            (n_recent > 0).float(),
            *_novelty(recent.item_idx),
        ],
        dim=1,
    )


def _novelty(items: Tensor) -> tuple[Tensor, ...]:
    """Whether the last item was new, how often it came, how many of the latest were new."""
    latest = items[:, -N_LATEST:]
    at = torch.arange(items.shape[1], device=items.device)
    equal = latest[:, :, None] == items[:, None, :]  # (B, N_LATEST, L)
    earlier = equal & (at < at[-latest.shape[1] :, None])
    known = (latest > 0).float()
    new = (~earlier.any(-1)).float() * known
    often = equal[:, -1].float().sum(1) * known[:, -1]
    return new[:, -1], torch.log1p(often) / 3.0, new.sum(1) / known.sum(1).clamp(min=1.0)
