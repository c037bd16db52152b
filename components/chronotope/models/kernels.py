"""Space-time kernels: how much each event of the past speaks for what comes next."""

import math

import torch
from torch import Tensor, nn

from chronotope.models.batch import Batch, hours_between, local_hour, local_weekday
from chronotope.models.context import N_CONTEXT
from chronotope.models.items import ItemTables

N_UNITS = 24
N_LEARNED = 8
"""Kernels that a small network makes of the others and the context."""

KERNELS = (
    "count",
    "decay_1d",
    "decay_7d",
    "decay_30d",
    "recency_3h",
    "rank",
    "hour",
    "hour_30d",
    "weekday",
    "weekday_hour",
    "weekend_hour",
    "transition",
    "transition_30d",
    "transition_hour",
    "transition_2",
    "category_hour",
    "after_hour",
    "after_hour_30d",
    "after_weekend_hour",
    "after_recent",
    "place",
    "last",
    "today",
    "after_near",
    "after_near_hour",
    *(f"learned_{n}" for n in range(N_LEARNED)),
)
"""Names of the kernels, in the order of the last axis of ``KernelBank``'s output."""


class KernelBank(nn.Module):
    """K non-negative kernels between a query and each event of its history.

    Bandwidths (decay times in hours, the width of the hour-of-day Gaussian, the decay
    over ranks) are learned on a log scale. The cost is linear in H; every kernel is
    elementwise, so the bank is bound by memory bandwidth.
    """

    def __init__(self) -> None:
        """Start from the bandwidths that work on check-ins."""
        super().__init__()
        self.log_tau_h = nn.Parameter(torch.log(torch.tensor([24.0, 168.0, 720.0, 3.0])))
        self.log_sigma_h = nn.Parameter(torch.tensor(math.log(1.5)))
        self.log_tau_rank = nn.Parameter(torch.tensor(math.log(5.0)))
        self.log_near_km = nn.Parameter(torch.tensor(math.log(0.5)))
        self.read_kernels = nn.Linear(len(KERNELS) - N_LEARNED + 2, N_UNITS)
        self.read_context = nn.Linear(N_CONTEXT, N_UNITS, bias=False)
        self.learned = nn.Linear(N_UNITS, N_LEARNED)

    def forward(self, batch: Batch, tables: ItemTables, context: Tensor) -> Tensor:
        """Kernel values, float32, shape (B, H, K); 0 in padding.

        Args:
            batch: The queries.
            tables: Categories and coordinates of the items.
            context: What the learned kernels listen to, shape (B, N_CONTEXT).
        """
        items = batch.item_idx  # (B, H)
        valid = (items > 0).float()
        age_h = hours_between(batch.request_s[:, None], batch.occurred_s)
        decay = torch.exp(-age_h[..., None] / self.log_tau_h.exp())  # (B, H, 4)
        month = decay[..., 2]
        hours = local_hour(batch.occurred_s, batch.utc_offset_min)
        hour = self._same_hour(hours, local_hour(batch.request_s, batch.request_offset_min))
        days = local_weekday(batch.occurred_s, batch.utc_offset_min)
        today = local_weekday(batch.request_s, batch.request_offset_min)[:, None]
        weekday = (days == today).float()
        weekend = ((days >= 5) == (today >= 5)).float()
        before = _shift(items)
        transition = _same(before, items[:, -1:])
        second = transition * _same(_shift(before), items[:, -2:-1])
        categories = tables.category[items]
        category = _same(_shift(categories), categories[:, -1:])
        after_hour = self._same_hour(_shift(hours), hours[:, -1])
        last_day = days[:, -1:]
        after_weekend = ((_shift(days) >= 5) == (last_day >= 5)).float()
        wait_h = hours_between(batch.occurred_s, _shift(batch.occurred_s))
        after_recent = after_hour * torch.exp(-wait_h / 12.0) * month
        day = torch.div(batch.occurred_s + 60 * batch.utc_offset_min, 86_400, rounding_mode="floor")
        xy = tables.xy_km[items]
        before_xy = nn.functional.pad(xy[:, :-1], (0, 0, 1, 0))
        apart_km = (before_xy - xy[:, -1:]).square().sum(-1).add(1e-9).sqrt()
        located = tables.located[before] * tables.located[items[:, -1:]]
        after_near = torch.exp(-apart_km / self.log_near_km.exp()) * located
        rank = torch.arange(items.shape[1] - 1, -1, -1, device=items.device).float()
        by_rank = torch.exp(-rank / self.log_tau_rank.exp()).expand_as(hour)
        here = torch.where(
            batch.request_place_idx > 0, batch.request_place_idx, batch.place_idx[:, -1]
        )
        bank = [
            torch.ones_like(hour),
            *decay.unbind(-1),
            by_rank,
            hour,
            hour * month,
            weekday,
            weekday * hour,
            weekend * hour,
            transition,
            transition * month,
            transition * after_hour,
            second,
            category * after_hour,
            after_hour,
            after_hour * month,
            after_hour * after_weekend,
            after_recent,
            _same(batch.place_idx, here[:, None]),
            (rank == 0).float().expand_as(hour),
            (day == day[:, -1:]).float(),
            after_near,
            after_near * after_hour,
        ]
        given = torch.stack(bank, dim=-1)
        shape = torch.stack(
            [torch.log1p(age_h) / 5.0, (torch.log1p(rank) / 4.0).expand_as(age_h)], dim=-1
        )
        seen = self.read_kernels(torch.cat([given, shape], dim=-1))
        unit = nn.functional.gelu(seen + self.read_context(context)[:, None])
        learned = torch.sigmoid(self.learned(unit) - 2.0)
        return torch.cat([given, learned], dim=-1) * valid[..., None]

    def _same_hour(self, hours: Tensor, hour: Tensor) -> Tensor:
        """Gaussian of the circular distance between hours of the day, shape (B, H)."""
        apart = (hours - hour[:, None]).abs()
        apart = torch.minimum(apart, 24.0 - apart)
        return torch.exp(-0.5 * (apart / self.log_sigma_h.exp()) ** 2)


def _shift(column: Tensor) -> Tensor:
    """The previous event's value beside each event, shape kept; 0 beside the first."""
    return nn.functional.pad(column[:, :-1], (1, 0))


def _same(column: Tensor, value: Tensor) -> Tensor:
    """1 where known and equal, shape of ``column``."""
    return ((column == value) & (value > 0)).float()
