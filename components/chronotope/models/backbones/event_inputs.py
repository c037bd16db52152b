"""The latest events as every backbone reads them, and the moment that is asked about."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from chronotope.models.batch import Batch, hours_between, local_hour, local_weekday

N_CLOCK = 3
N_NOW = 6

FADING_EVENTS = 8.0
"""Events after which a mean has forgotten all but 1 / e, at first."""


class PackedSequences(NamedTuple):
    """Histories that overlap, laid out once: R rows of W events, right-aligned.

    Queries of one user one after the other have nearly one history. A backbone that reads
    it once has the state after each event, and so what each of the queries asks for.

    Attributes:
        item_idx, occurred_s, utc_offset_min: int64, shape (R, W); items are 0 in padding.
        row, column: Where the latest event of each of B queries stands, int64, shape (B,).
    """

    item_idx: Tensor
    occurred_s: Tensor
    utc_offset_min: Tensor
    row: Tensor
    column: Tensor


class EventInputs(NamedTuple):
    """W events of R histories.

    Attributes:
        item_idx: int64, shape (R, W).
        known: 1 where there is an event of a known item, float32, shape (R, W).
        at_s: UTC seconds, int64, shape (R, W).
        clock: Hour of day and time since the event before, shape (R, W, N_CLOCK).
    """

    item_idx: Tensor
    known: Tensor
    at_s: Tensor
    clock: Tensor


def event_inputs(told: Batch | PackedSequences) -> EventInputs:
    """The events of histories or of stretches."""
    items, at = told.item_idx, told.occurred_s
    known = (items > 0).float()
    angle = local_hour(at, told.utc_offset_min) * (torch.pi / 12.0)
    wait = hours_between(at[:, 1:], at[:, :-1]) * known[:, :-1]
    wait = torch.log1p(nn.functional.pad(wait, (1, 0))) / 5.0
    return EventInputs(items, known, at, torch.stack([angle.sin(), angle.cos(), wait], dim=-1))


def request_clock(batch: Batch) -> Tensor:
    """Hour, weekday and gap of the request, and whether it is known, shape (B, N_NOW)."""
    at, offset = batch.request_s, batch.request_offset_min
    hour = local_hour(at, offset) * (torch.pi / 12.0)
    day = local_weekday(at, offset) * (2.0 * torch.pi / 7.0)
    gap_h = hours_between(at, batch.occurred_s[:, -1]) * (batch.item_idx[:, -1] > 0)
    wait = torch.log1p(gap_h) / 5.0
    return torch.stack([hour.sin(), hour.cos(), day.sin(), day.cos(), wait, batch.time_given], 1)


def causal_window_mask(width: int, length: int, like: Tensor) -> Tensor:
    """Which events each may look at: itself and those before, ``length`` in all, (W, W)."""
    at = torch.arange(width, device=like.device)
    apart = at[:, None] - at[None, :]
    return (apart >= 0) & (apart < length)


class DecayedMean(nn.Module):
    """After each event, the mean of the latest ones, weighted by exp(-events since / tau)."""

    def __init__(self, length: int) -> None:
        """Look at no more than the latest ``length`` events."""
        super().__init__()
        self.length = length
        self.log_tau = nn.Parameter(torch.tensor(math.log(FADING_EVENTS)))

    def forward(self, x: Tensor, events: EventInputs) -> Tensor:
        """Vectors of events to means, both of shape (R, W, d)."""
        width = x.shape[1]
        at = torch.arange(width, device=x.device)
        since = (at[:, None] - at[None, :]).clamp(min=0)
        weight = torch.exp(-since / self.log_tau.exp()) * causal_window_mask(width, self.length, x)
        weight = weight * events.known[:, None, :]  # (R, W, W)
        return weight @ x / weight.sum(-1, keepdim=True).clamp(min=1e-6)


class TimeEncoding(nn.Module):
    """Adds the clock to the vectors of events; padding stays zero."""

    def __init__(self, d_model: int, dropout: float) -> None:
        """Build the layers."""
        super().__init__()
        self.clock = nn.Linear(N_CLOCK, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, events: EventInputs) -> Tensor:
        """Vectors of items to vectors of events, both of shape (R, W, d_model)."""
        timed: Tensor = self.dropout((x + self.clock(events.clock)) * events.known[..., None])
        return timed


class RequestProjection(nn.Module):
    """Turns the state after the latest event to the moment that is asked about.

    state * (1 + s(now)) + b(now), with s and b zero at first.

    Source:
        Perez et al. (2018), FiLM, eq. 2.
    """

    def __init__(self, d_model: int) -> None:
        """Build the layer."""
        super().__init__()
        self.now = nn.Linear(N_NOW, 2 * d_model)
        nn.init.zeros_(self.now.weight)
        nn.init.zeros_(self.now.bias)

    def forward(self, state: Tensor, now: Tensor) -> Tensor:
        """State after the latest event, (B, d_model), to one of the same shape."""
        scale, shift = self.now(now).chunk(2, dim=1)
        turned: Tensor = state * (1.0 + scale) + shift
        return turned
