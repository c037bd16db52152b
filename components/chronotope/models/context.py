"""The context of a query: what the gates listen to."""

import torch
from torch import Tensor

from chronotope.models.batch import Batch, hours_between, local_hour, local_weekday

N_CONTEXT = 12
N_RHYTHM = 4


def context_of(batch: Batch, recent: Batch, is_first: Tensor, *, hidden: bool) -> Tensor:
    """Hour, weekend, gaps, length of the history and share of distinct items.

    Args:
        batch: The queries.
        recent: The same with the latest L events only.
        is_first: 1 at one event of each distinct item of the recent past, shape (B, L).
        hidden: Tell nothing of the request, only of the last event.

    Returns:
        Features of about unit size, shape (B, N_CONTEXT).
    """
    valid = (recent.item_idx > 0).float()
    last_s, last_offset = batch.occurred_s[:, -1], batch.utc_offset_min[:, -1]
    given = torch.zeros_like(batch.time_given) if hidden else batch.time_given
    at = last_s if hidden else batch.request_s
    offset = last_offset if hidden else batch.request_offset_min
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
        ],
        dim=1,
    )


def rhythm_of(recent: Batch) -> Tensor:
    """Mean, spread and latest of the log hours between events, weekday; (B, N_RHYTHM)."""
    known = (recent.item_idx > 0).float()[:, :-1]
    steps_h = hours_between(recent.occurred_s[:, 1:], recent.occurred_s[:, :-1])
    steps = torch.log(steps_h + 0.02) * known
    n = known.sum(1).clamp(min=1.0)
    mean = steps.sum(1) / n
    spread = (((steps - mean[:, None]) * known).square().sum(1) / n + 1e-6).sqrt()
    lately = steps[:, -5:].sum(1) / known[:, -5:].sum(1).clamp(min=1.0)
    weekday = local_weekday(recent.occurred_s[:, -1], recent.utc_offset_min[:, -1]).float()
    return torch.stack([mean, spread, lately, weekday / 7.0], dim=1)
