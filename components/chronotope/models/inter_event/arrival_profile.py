"""Hours at which a user's next event may come: past events, by hours ahead of the last one.

Each past event is moved to the next time at which its hour of the week, or of the day, comes
again. Their numbers around each of the next N_AHEAD hours are the weights of narrow components of
the time head, so that it can say "tomorrow at nine, or at six in the evening".
"""

import torch
from torch import Tensor

from chronotope.models.inter_event.past_instants import N_GAPS, PastInstants

N_AHEAD = 48
"""Hours ahead that have a component of their own."""

PROFILES = ("week", "day", "day_type", "recent", "opening")
"""Past events of the same hour of the week; of the day; of the day on weekends or on working days,
as the hour ahead is; recent ones; and those that came after a pause."""

WEEK_H = 168
RECENT_RANKS = 12.0
PAUSE_H = 4.0
SATURDAY = 5


def arrival_profile(past: PastInstants) -> Tensor:
    """Number of past events around each hour ahead, shape (B, len(PROFILES), N_AHEAD).

    Args:
        past: Latest instants.
    """
    since_h = past.hour - past.hour[:, -1:] + 24.0 * (past.weekday - past.weekday[:, -1:])
    ahead_h = torch.remainder(since_h, float(WEEK_H))  # (B, N_GAPS + 1)
    whole = ahead_h.long().clamp(max=WEEK_H - 1)
    part = ahead_h - whole
    rank = torch.arange(N_GAPS, -1, -1, device=ahead_h.device).float()
    paused = torch.cat([past.is_gap[:, :1] * 0.0, past.is_gap * (past.gap_h > PAUSE_H)], dim=1)

    def by_hour_ahead(weight: Tensor) -> Tensor:
        empty = torch.zeros(whole.shape[0], WEEK_H, device=ahead_h.device)
        counts = empty.scatter_add(1, whole, (1.0 - part) * weight)
        counts = counts.scatter_add(1, torch.remainder(whole + 1, WEEK_H), part * weight)
        return (counts.roll(1, 1) + 2.0 * counts + counts.roll(-1, 1)) / 4.0  # (B, WEEK_H)

    week = by_hour_ahead(past.is_event)
    hours = torch.arange(WEEK_H, device=ahead_h.device)
    days_ahead = torch.floor((past.hour[:, -1:] + hours) / 24.0).long()
    is_weekend = torch.remainder(past.weekday[:, -1:] + days_ahead, 7) >= SATURDAY  # (B, WEEK_H)
    weekend, working = _by_day(week * is_weekend), _by_day(week * ~is_weekend)  # (B, 24)
    recent = by_hour_ahead(past.is_event * torch.exp(-rank / RECENT_RANKS))
    return torch.stack(
        [
            _ahead(week),
            _ahead(_by_day(week)),
            torch.where(_ahead(is_weekend), _ahead(weekend), _ahead(working)),
            _ahead(_by_day(recent)),
            _ahead(_by_day(by_hour_ahead(paused))),
        ],
        dim=1,
    )


def _by_day(week: Tensor) -> Tensor:
    """Sums over the days of a week, (B, 24)."""
    return week.view(week.shape[0], WEEK_H // 24, 24).sum(1)


def _ahead(profile: Tensor) -> Tensor:
    """Values at 1 to N_AHEAD hours ahead of a profile that repeats itself, (B, N_AHEAD)."""
    n_repeats = -(-(N_AHEAD + 1) // profile.shape[1])
    return torch.cat([profile] * n_repeats, dim=1)[:, 1 : N_AHEAD + 1]
