"""The latest events as every backbone reads them."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from chronotope.models.batch import Batch, hours_between, local_hour, local_weekday

N_CLOCK = 3
N_NOW = 6


class Events(NamedTuple):
    """Up to L latest events of B queries, right-aligned.

    Attributes:
        item_idx: int64, shape (B, L).
        known: 1 where there is an event of a known item, float32, shape (B, L).
        at_s: UTC seconds, int64, shape (B, L).
        next_s: UTC seconds of what follows each: the next event or, after the last one,
            the request; the last event itself where the request time is hidden.
        clock: Hour of day and time to what follows, shape (B, L, N_CLOCK).
        now: Hour, weekday and gap of the request, shape (B, N_NOW).
    """

    item_idx: Tensor
    known: Tensor
    at_s: Tensor
    next_s: Tensor
    clock: Tensor
    now: Tensor


def events_of(batch: Batch, length: int) -> Events:
    """The latest events of a batch, at most ``length`` of them."""
    items, at = batch.item_idx[:, -length:], batch.occurred_s[:, -length:]
    last = at[:, -1]
    end = torch.where(batch.time_given > 0, batch.request_s, last)
    following = torch.cat([at[:, 1:], end[:, None]], dim=1)
    angle = local_hour(at, batch.utc_offset_min[:, -length:]) * (torch.pi / 12.0)
    wait = torch.log1p(hours_between(following, at)) / 5.0
    return Events(
        item_idx=items,
        known=(items > 0).float(),
        at_s=at,
        next_s=following,
        clock=torch.stack([angle.sin(), angle.cos(), wait], dim=-1),
        now=_now(batch, wait[:, -1] * (items[:, -1] > 0)),
    )


def decayed_mean(x: Tensor, known: Tensor, log_tau: Tensor) -> Tensor:
    """Mean of events weighted by exp(-events since / tau), (B, L, d) to (B, d).

    Args:
        x: Vectors of events, shape (B, L, d).
        known: 1 where there is an event, shape (B, L).
        log_tau: Log of the number of events after which a weight is 1 / e, no axes.
    """
    since = torch.arange(x.shape[1] - 1, -1, -1, device=x.device)
    weight = torch.exp(-since / log_tau.exp()) * known
    total = weight.sum(1, keepdim=True).clamp(min=1e-6)
    return ((weight / total)[..., None] * x).sum(1)


class TimedEvents(nn.Module):
    """Adds the clock to the vectors of events; padding stays zero."""

    def __init__(self, d_model: int, dropout: float) -> None:
        """Build the layers."""
        super().__init__()
        self.clock = nn.Linear(N_CLOCK, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, events: Events) -> Tensor:
        """Vectors of items to vectors of events, both of shape (B, L, d_model)."""
        timed: Tensor = self.dropout((x + self.clock(events.clock)) * events.known[..., None])
        return timed


def _now(batch: Batch, wait: Tensor) -> Tensor:
    at, offset = batch.request_s, batch.request_offset_min
    hour = local_hour(at, offset) * (torch.pi / 12.0)
    day = local_weekday(at, offset) * (2.0 * torch.pi / 7.0)
    return torch.stack([hour.sin(), hour.cos(), day.sin(), day.cos(), wait, batch.time_given], 1)
