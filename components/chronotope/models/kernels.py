"""Space-time kernels: how much each event of the past speaks for what comes next."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from chronotope.models.batch import DAY_S, Batch, hours_between, local_hour, local_weekday
from chronotope.models.item_tables import ItemTables
from chronotope.models.query_context import N_CONTEXT

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
    "time",
    "time_7d",
    "time_weekday",
    "time_transition",
    "wait",
    "wait_hour",
    "wait_transition",
    "wait_after_hour",
    *(f"learned_{n}" for n in range(N_LEARNED)),
)
"""Names of the kernels, in the order of the last axis of ``KernelBank``'s output."""


SHORT_WAIT_H = 0.05
"""Waits below this are all short."""


class LocalClock(NamedTuple):
    """Local hour, weekday and day of each event, each (B, H)."""

    hour: Tensor
    weekday: Tensor
    day: Tensor


class KernelBank(nn.Module):
    """K non-negative kernels between a query and each event of its history.

    Bandwidths (decay times in hours, the widths of the Gaussians over the hour of the day,
    over the time of day and over the log of the wait since the event before, the decay over
    ranks) are learned on a log scale. The cost is linear in H; every kernel is
    elementwise, so the bank is bound by memory bandwidth.
    """

    def __init__(self, n_context: int = N_CONTEXT) -> None:
        """Start from the bandwidths that work on check-ins."""
        super().__init__()
        self.log_decay_h = nn.Parameter(torch.log(torch.tensor([24.0, 168.0, 720.0, 3.0])))
        self.log_hour_width_h = nn.Parameter(torch.tensor(math.log(1.5)))
        self.log_time_width_h = nn.Parameter(torch.tensor(math.log(0.5)))
        self.log_wait_width = nn.Parameter(torch.tensor(math.log(0.4)))
        self.log_decay_rank = nn.Parameter(torch.tensor(math.log(5.0)))
        self.log_near_km = nn.Parameter(torch.tensor(math.log(0.5)))
        self.kernel_layer = nn.Linear(len(KERNELS) - N_LEARNED + 2, N_UNITS)
        self.context_layer = nn.Linear(n_context, N_UNITS, bias=False)
        self.output_layer = nn.Linear(N_UNITS, N_LEARNED)

    def forward(self, batch: Batch, tables: ItemTables, context: Tensor) -> Tensor:
        """Kernel values, float32, shape (B, H, K); 0 in padding.

        Args:
            batch: The queries.
            tables: Categories and coordinates of the items.
            context: What the learned kernels listen to, shape (B, n_context).
        """
        valid = (batch.item_idx > 0).float()
        age_h = hours_between(batch.request_s[:, None], batch.occurred_s)
        decay = torch.exp(-age_h[..., None] / self.log_decay_h.exp())  # (B, H, 4)
        month = decay[..., 2]
        rank = torch.arange(valid.shape[1] - 1, -1, -1, device=valid.device).float()
        by_rank = torch.exp(-rank / self.log_decay_rank.exp()).expand_as(valid)
        clock = _clock_of(batch)
        always = [torch.ones_like(valid), *decay.unbind(-1), by_rank]
        at_the_moment = self._at_the_moment(batch, clock, month)
        after_the_last = self._after_the_last(batch, tables, clock, month)
        so_far = [*always, *at_the_moment, *after_the_last]
        coarse = dict(zip(KERNELS[: len(so_far)], so_far, strict=True))
        given = torch.stack([*coarse.values(), *self._in_step(batch, clock, coarse)], dim=-1)
        learned = self._learned(given, age_h, rank, context)
        return torch.cat([given, learned], dim=-1) * valid[..., None]

    def _at_the_moment(self, batch: Batch, clock: LocalClock, month: Tensor) -> list[Tensor]:
        """Events at the hour and on the day that is asked about: "hour" to "weekend_hour"."""
        hour = self._same_hour(clock.hour, local_hour(batch.request_s, batch.request_offset_min))
        today = local_weekday(batch.request_s, batch.request_offset_min)[:, None]
        weekday = (clock.weekday == today).float()
        weekend = ((clock.weekday >= 5) == (today >= 5)).float()
        return [hour, hour * month, weekday, weekday * hour, weekend * hour]

    def _after_the_last(
        self, batch: Batch, tables: ItemTables, clock: LocalClock, month: Tensor
    ) -> list[Tensor]:
        """Events that came after one like the last: "transition" to "after_near_hour"."""
        items, last = batch.item_idx, batch.item_idx[:, -1:]
        before, category = _shift(items), tables.category[items]
        transition = _same(before, last)
        after_hour = self._same_hour(_shift(clock.hour), clock.hour[:, -1])
        after_weekend = (_shift(clock.weekday) >= 5) == (clock.weekday[:, -1:] >= 5)
        wait_h = hours_between(batch.occurred_s, _shift(batch.occurred_s))
        apart_km = (tables.xy_km[before] - tables.xy_km[last]).square().sum(-1).add(1e-9).sqrt()
        located = tables.located[before] * tables.located[last]
        after_near = torch.exp(-apart_km / self.log_near_km.exp()) * located
        newest = torch.arange(items.shape[1], device=items.device) == items.shape[1] - 1
        here = torch.where(
            batch.request_place_idx > 0, batch.request_place_idx, batch.place_idx[:, -1]
        )
        return [
            transition,
            transition * month,
            transition * after_hour,
            transition * _same(_shift(before), items[:, -2:-1]),
            _same(_shift(category), category[:, -1:]) * after_hour,
            after_hour,
            after_hour * month,
            after_hour * after_weekend.float(),
            after_hour * torch.exp(-wait_h / 12.0) * month,
            _same(batch.place_idx, here[:, None]),
            newest.float().expand_as(transition),
            (clock.day == clock.day[:, -1:]).float(),
            after_near,
            after_near * after_hour,
        ]

    def _in_step(self, batch: Batch, clock: LocalClock, coarse: dict[str, Tensor]) -> list[Tensor]:
        """Events at the same minutes of the day or after as long a wait: "time" and on.

        How long has been waited for the next event is known only where its moment is told.
        """
        now = local_hour(batch.request_s, batch.request_offset_min)
        time = _circular_gaussian(clock.hour, now, self.log_time_width_h.exp())
        waited = _log_wait(hours_between(batch.occurred_s, _shift(batch.occurred_s)))
        waiting = _log_wait(hours_between(batch.request_s, batch.occurred_s[:, -1]))
        apart = (waited - waiting[:, None]) / self.log_wait_width.exp()
        known = batch.time_given[:, None] * (_shift(batch.item_idx) > 0)
        wait = torch.exp(-0.5 * apart.square()) * known
        return [
            time,
            time * coarse["decay_7d"],
            time * coarse["weekday"],
            time * coarse["transition"],
            wait,
            wait * coarse["hour"],
            wait * coarse["transition"],
            wait * coarse["after_hour"],
        ]

    def _learned(self, given: Tensor, age_h: Tensor, rank: Tensor, context: Tensor) -> Tensor:
        """What a small network makes of the other kernels, ages and ranks, (B, H, N_LEARNED)."""
        far = torch.stack(
            [torch.log1p(age_h) / 5.0, (torch.log1p(rank) / 4.0).expand_as(age_h)], dim=-1
        )
        seen = self.kernel_layer(torch.cat([given, far], dim=-1))
        unit = nn.functional.gelu(seen + self.context_layer(context)[:, None])
        return torch.sigmoid(self.output_layer(unit) - 2.0)

    def _same_hour(self, hours: Tensor, hour: Tensor) -> Tensor:
        """Nearness of hours of the day, shape (B, H)."""
        return _circular_gaussian(hours, hour, self.log_hour_width_h.exp())


def _circular_gaussian(hours: Tensor, hour: Tensor, width_h: Tensor) -> Tensor:
    """Gaussian of the circular distance between hours of the day, shape (B, H)."""
    apart = (hours - hour[:, None]).abs()
    apart = torch.minimum(apart, 24.0 - apart)
    return torch.exp(-0.5 * (apart / width_h) ** 2)


def _log_wait(hours: Tensor) -> Tensor:
    """Log of waiting times, which differ little below some minutes; shape kept."""
    return torch.log(hours + SHORT_WAIT_H)


def _clock_of(batch: Batch) -> LocalClock:
    local_s = batch.occurred_s + 60 * batch.utc_offset_min
    return LocalClock(
        hour=local_hour(batch.occurred_s, batch.utc_offset_min),
        weekday=local_weekday(batch.occurred_s, batch.utc_offset_min),
        day=torch.div(local_s, DAY_S, rounding_mode="floor"),
    )


def _shift(column: Tensor) -> Tensor:
    """The previous event's value beside each event, shape kept; 0 beside the first."""
    return nn.functional.pad(column[:, :-1], (1, 0))


def _same(column: Tensor, value: Tensor) -> Tensor:
    """1 where known and equal, shape of ``column``."""
    return ((column == value) & (value > 0)).float()
