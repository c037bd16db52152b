"""Features of the gaps between a user's past events, for the prediction of the next event's time.

Clock, latest gaps, pace, active hours, and histograms of the gaps between events, each
weighted by a kernel that compares a past gap with the current, open one. Nothing here
has parameters, and nothing reads the time of the request: in training it is the
label.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from chronotope.models.batch import DAY_S, Batch, hours_between
from chronotope.models.inter_event.arrival_profile import N_AHEAD, PROFILES, arrival_profile
from chronotope.models.inter_event.past_instants import N_GAPS, PastInstants, past_instants

GAP_KERNELS = ("count", "rank", "daytype_hour", "weekday_hour", "similar_gap", "item", "item_hour")
"""How a past gap may be like the one now beginning."""

N_BINS = 20
N_LATEST = 8
TAU_RANKS = (2.0, 8.0, 32.0, 1e9)
TAU_H = (6.0, 24.0, 168.0, 720.0)
SHORT_H = (1.0, 4.0, 16.0)
FIRST_BIN, LAST_BIN = math.log(0.03), math.log(1500.0)
BIN_WIDTH = (LAST_BIN - FIRST_BIN) / (N_BINS - 1)

N_CLOCK = 6 + 7
N_PACE = 3 * len(TAU_RANKS) + len(TAU_H) + len(SHORT_H) + 6
N_FEATURES = N_CLOCK + 2 * N_LATEST + N_PACE + len(GAP_KERNELS) * (N_BINS + 1) + 24


class GapFeatures(NamedTuple):
    """Inputs of the time head; computed without parameters, so once per batch is enough.

    Attributes:
        features: About unit size, shape (B, N_FEATURES).
        gap_counts: Kernel-weighted number of past gaps in each bin, (B, len(GAP_KERNELS), N_BINS).
        arrivals: Number of past events around each hour ahead, (B, len(PROFILES), N_AHEAD).
        basket_sizes: Log of 1 + events of the latest instants, shape (B, N_LATEST).
    """

    features: Tensor
    gap_counts: Tensor
    arrivals: Tensor
    basket_sizes: Tensor


def empty_gap_features(n_queries: int) -> GapFeatures:
    """Uninitialised features of some queries."""
    return GapFeatures(
        torch.empty(n_queries, N_FEATURES),
        torch.empty(n_queries, len(GAP_KERNELS), N_BINS),
        torch.empty(n_queries, len(PROFILES), N_AHEAD),
        torch.empty(n_queries, N_LATEST),
    )


def gap_features(batch: Batch) -> GapFeatures:
    """Clock, latest gaps, pace, histograms of gaps and active hours of each history."""
    past = past_instants(batch)
    gaps = _histograms(past)  # (B, K, N_BINS)
    mass = gaps.sum(-1)  # (B, K), K kernels
    share = (gaps / (mass[..., None] + 1.0)).sqrt()  # (B, K, N_BINS)
    latest = past.is_gap[:, -N_LATEST:]
    features = [
        _clock(past),
        past.log_gap[:, -N_LATEST:] * latest / 3.0,
        latest,
        _pace(batch, past),
        3.0 * share.flatten(1),  # (B, K * N_BINS)
        torch.log1p(mass) / 2.0,
        _active_hours(past),
    ]
    basket_sizes = torch.log1p(past.n_events[:, -N_LATEST:])
    return GapFeatures(torch.cat(features, dim=1), gaps, arrival_profile(past), basket_sizes)


def _clock(past: PastInstants) -> Tensor:
    """Local hour and weekday of the last event, shape (B, N_CLOCK)."""
    harmonics = torch.arange(1, 4, device=past.hour.device)
    angle = past.hour[:, -1:] * (harmonics * (math.pi / 12.0))  # (B, 3)
    days = torch.arange(7, device=past.weekday.device)
    is_day = (past.weekday[:, -1:] == days).float()  # (B, 7)
    return torch.cat([angle.sin(), angle.cos(), is_day], dim=1)


def _pace(batch: Batch, past: PastInstants) -> Tensor:
    """Event rate over several windows of ranks and of hours, shape (B, N_PACE)."""
    last_s = past.occurred_s[:, -1]
    rank = torch.arange(N_GAPS - 1, -1, -1, device=last_s.device).float()
    n_gaps = past.is_gap.sum(1).clamp(min=1.0)
    age_h = hours_between(last_s[:, None], past.occurred_s)  # (B, N_GAPS + 1)
    is_event = batch.item_idx > 0
    n_events = is_event.float().sum(1)
    first_s = torch.where(is_event, batch.occurred_s, last_s[:, None]).amin(1)
    span_h = hours_between(last_s, first_s)
    fading = torch.exp(-rank / rank.new_tensor(TAU_RANKS)[:, None])  # (T, N_GAPS)
    lately = (  # (B, len(TAU_H), 1)
        torch.exp(-age_h[:, None] / age_h.new_tensor(TAU_H)[:, None]) @ past.is_event[..., None]
    )
    is_short = past.gap_h[:, None] < age_h.new_tensor(SHORT_H)[:, None]  # (B, len(SHORT_H), N_GAPS)
    short = is_short * past.is_gap[:, None]
    spans = [
        torch.log1p(past.gap_h[:, -16:].amax(1)) / 5.0,
        torch.log1p(n_events) / 4.0,
        torch.log1p(span_h) / 5.0,
        torch.log1p(span_h / n_events.clamp(min=1.0)) / 5.0,
        torch.log1p(_today(past)),
        (n_events == 0).float(),
    ]
    pace = [
        _moments(past, past.is_gap[:, None] * fading).flatten(1),  # (B, T * 3)
        torch.log1p(lately[..., 0]) / 2.0,
        short.sum(-1) / n_gaps[:, None],
        torch.stack(spans, dim=1),
    ]
    return torch.cat(pace, dim=1)


def _moments(past: PastInstants, weight: Tensor) -> Tensor:
    """Weighted mean and standard deviation of the log gap, and log of the mean gap, (B, T, 3).

    Args:
        past: The latest events.
        weight: T weights a gap, shape (B, T, N_GAPS).
    """
    total = weight.sum(-1).clamp(min=1e-3)  # (B, T)
    mean = (weight @ past.log_gap[..., None])[..., 0] / total
    deviation = past.log_gap[:, None] - mean[..., None]  # (B, T, N_GAPS)
    spread = (weight * deviation.square()).sum(-1) / total
    rate = (weight @ past.gap_h[..., None])[..., 0] / total
    moments = mean / 3.0, (spread + 1e-4).sqrt() / 3.0, torch.log(rate + 0.01) / 5.0
    return torch.stack(moments, dim=-1)


def _today(past: PastInstants) -> Tensor:
    """Events since local midnight of the last event, shape (B,)."""
    since_s = (past.hour[:, -1:] * 3600.0).long()
    age_s = past.occurred_s[:, -1:] - past.occurred_s
    return ((age_s <= since_s) & (age_s < DAY_S)).float().mul(past.is_event).sum(1)


def _histograms(past: PastInstants) -> Tensor:
    """Kernel-weighted number of past gaps in each bin, (B, len(GAP_KERNELS), N_BINS)."""
    near = torch.exp(
        -0.5 * ((past.log_gap[..., None] - bin_centers(past.log_gap)) / BIN_WIDTH).square()
    )
    near = near / near.sum(-1, keepdim=True)  # (B, N_GAPS, N_BINS)
    weight = torch.stack(_kernels(past), dim=1) * past.is_gap[:, None, :]  # (B, K, N_GAPS)
    return weight @ near  # (B, K, N_BINS)


def _kernels(past: PastInstants) -> list[Tensor]:
    """Similarity of each past gap to the current, open gap, each (B, N_GAPS)."""
    hour = torch.exp(-0.5 * (_hour_distance(past.hour[:, :-1], past.hour[:, -1:]) / 3.0).square())
    days, today = past.weekday[:, :-1], past.weekday[:, -1:]
    rank = torch.arange(N_GAPS - 1, -1, -1, device=hour.device).float()
    before = nn.functional.pad(past.log_gap[:, :-1], (1, 0))
    has_before = nn.functional.pad(past.is_gap[:, :-1], (1, 0)) * past.is_gap[:, -1:]
    similar = torch.exp(-0.5 * ((before - past.log_gap[:, -1:]) / 0.7).square())
    item = (past.item_idx[:, :-1] == past.item_idx[:, -1:]).float()
    return [
        torch.ones_like(hour),
        torch.exp(-rank / 8.0).expand_as(hour),
        hour * ((days >= 5) == (today >= 5)),
        hour * (days == today),
        similar * has_before,
        item,
        item * hour,
    ]


def _active_hours(past: PastInstants) -> Tensor:
    """Square root of the share of events around each of the next 24 hours, shape (B, 24)."""
    ahead_h = torch.remainder(past.hour - past.hour[:, -1:], 24.0)  # (B, N_GAPS + 1)
    whole = ahead_h.long().clamp(max=23)
    part = ahead_h - whole
    empty = torch.zeros(whole.shape[0], 24, device=ahead_h.device)
    active = empty.scatter_add(1, whole, (1.0 - part) * past.is_event)
    active = active.scatter_add(1, torch.remainder(whole + 1, 24), part * past.is_event)
    active = (active.roll(1, 1) + 2.0 * active + active.roll(-1, 1)) / 4.0
    return 3.0 * (active / (active.sum(1, keepdim=True) + 1.0)).sqrt()


def _hour_distance(hour: Tensor, reference_hour: Tensor) -> Tensor:
    """Circular distance between hours of the day, 0 to 12; shapes broadcast."""
    distance_h = (hour - reference_hour).abs()
    return torch.minimum(distance_h, 24.0 - distance_h)


def bin_centers(like: Tensor) -> Tensor:
    """Centers of the bins of log hours, shape (N_BINS,)."""
    return torch.linspace(FIRST_BIN, LAST_BIN, N_BINS, device=like.device)
