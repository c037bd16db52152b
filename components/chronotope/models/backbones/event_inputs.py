"""Inputs of the backbones: the latest events, and the time of the request."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from chronotope.models.batch import Batch, hours_between, local_hour, local_weekday

N_CLOCK = 3
N_REQUEST = 6

INITIAL_DECAY_EVENTS = 8.0
"""Events after which the decayed mean has forgotten all but 1 / e, at first."""


class PackedSequences(NamedTuple):
    """Overlapping histories, each event stored once: R rows of W events, right-aligned.

    Consecutive queries of one user have nearly the same history. A causal backbone that reads
    it once has the state after each event, and so the state of each query.

    Attributes:
        item_idx, occurred_s, utc_offset_min: int64, shape (R, W); items are 0 in padding.
        row, column: Position of the latest event of each of B queries, int64, shape (B,).
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
        is_event: 1 where there is an event of a known item, float32, shape (R, W).
        occurred_s: UTC seconds, int64, shape (R, W).
        clock_features: Hour of day and time since the event before, shape (R, W, N_CLOCK).
    """

    item_idx: Tensor
    is_event: Tensor
    occurred_s: Tensor
    clock_features: Tensor


def event_inputs(histories: Batch | PackedSequences) -> EventInputs:
    """Backbone inputs of the events of histories or of packed sequences."""
    item_idx, occurred_s = histories.item_idx, histories.occurred_s
    is_event = (item_idx > 0).float()
    hour_angle = local_hour(occurred_s, histories.utc_offset_min) * (torch.pi / 12.0)
    gap_h = hours_between(occurred_s[:, 1:], occurred_s[:, :-1]) * is_event[:, :-1]
    log_gap = torch.log1p(nn.functional.pad(gap_h, (1, 0))) / 5.0
    clock_features = torch.stack([hour_angle.sin(), hour_angle.cos(), log_gap], dim=-1)
    return EventInputs(item_idx, is_event, occurred_s, clock_features)


def request_clock(batch: Batch) -> Tensor:
    """Hour, weekday and gap of the request, and whether its time is given, (B, N_REQUEST)."""
    request_s, offset_min = batch.request_s, batch.request_offset_min
    hour_angle = local_hour(request_s, offset_min) * (torch.pi / 12.0)
    day_angle = local_weekday(request_s, offset_min) * (2.0 * torch.pi / 7.0)
    gap_h = hours_between(request_s, batch.occurred_s[:, -1]) * (batch.item_idx[:, -1] > 0)
    angles = [hour_angle.sin(), hour_angle.cos(), day_angle.sin(), day_angle.cos()]
    return torch.stack([*angles, torch.log1p(gap_h) / 5.0, batch.time_given], 1)


def causal_window_mask(width: int, window_len: int, reference: Tensor) -> Tensor:
    """Mask of visible events, (W, W): each event and those before it, ``window_len`` in all."""
    positions = torch.arange(width, device=reference.device)
    distance = positions[:, None] - positions[None, :]
    return (distance >= 0) & (distance < window_len)


class DecayedMean(nn.Module):
    """Mean of the latest events after each event, weighted by exp(-events since / tau)."""

    def __init__(self, window_len: int) -> None:
        """Limit the mean to the latest ``window_len`` events."""
        super().__init__()
        self.window_len = window_len
        self.log_tau = nn.Parameter(torch.tensor(math.log(INITIAL_DECAY_EVENTS)))

    def forward(self, vectors: Tensor, events: EventInputs) -> Tensor:
        """Vectors of events to means, both of shape (R, W, d)."""
        width = vectors.shape[1]
        positions = torch.arange(width, device=vectors.device)
        events_since = (positions[:, None] - positions[None, :]).clamp(min=0)
        is_visible = causal_window_mask(width, self.window_len, vectors)
        weight = torch.exp(-events_since / self.log_tau.exp()) * is_visible  # (W, W)
        weight = weight * events.is_event[:, None, :]  # (R, W, W)
        return weight @ vectors / weight.sum(-1, keepdim=True).clamp(min=1e-6)


class TimeEncoding(nn.Module):
    """Layer that adds clock features to the vectors of events; padding stays zero."""

    def __init__(self, d_model: int, dropout: float) -> None:
        """Build the layers."""
        super().__init__()
        self.clock_layer = nn.Linear(N_CLOCK, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Tensor, events: EventInputs) -> Tensor:
        """Vectors of items to vectors of events, both of shape (R, W, d_model)."""
        timed_vectors = vectors + self.clock_layer(events.clock_features)
        event_vectors: Tensor = self.dropout(timed_vectors * events.is_event[..., None])
        return event_vectors


class RequestProjection(nn.Module):
    """Layer that projects the state after the latest event to the time of the request.

    state * (1 + scale(request)) + shift(request), with scale and shift zero at first.

    Source:
        Perez et al. (2018), FiLM, eq. 2.
    """

    def __init__(self, d_model: int) -> None:
        """Build the layer."""
        super().__init__()
        self.request_layer = nn.Linear(N_REQUEST, 2 * d_model)
        nn.init.zeros_(self.request_layer.weight)
        nn.init.zeros_(self.request_layer.bias)

    def forward(self, state: Tensor, request_features: Tensor) -> Tensor:
        """State after the latest event, (B, d_model), to the query's state of the same shape."""
        scale, shift = self.request_layer(request_features).chunk(2, dim=1)  # each (B, d_model)
        query_state: Tensor = state * (1.0 + scale) + shift
        return query_state
