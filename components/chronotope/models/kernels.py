"""Space-time kernels: weight of each event of the history for a query."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from chronotope.models.batch import DAY_S, Batch, hours_between, local_hour, local_weekday
from chronotope.models.item_tables import ItemTables
from chronotope.models.query_context import N_CONTEXT

N_UNITS = 24
N_LEARNED = 8
"""Kernels that a small MLP computes from all others and the context."""

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
"""Offset of gaps in hours: shorter ones hardly differ."""


class LocalClock(NamedTuple):
    """Local hour, weekday and day of each event, each (B, H)."""

    hour: Tensor
    weekday: Tensor
    day: Tensor


class KernelBank(nn.Module):
    """K non-negative kernels between a query and each event of its history.

    Bandwidths (decay times in hours, the widths of the Gaussians over the hour of the day,
    over the time of day and over the log of the wait since the event before, the decay over
    ranks) are parameters on a log scale. The cost is linear in H; every kernel is
    elementwise, so the bank is bound by memory bandwidth.
    """

    def __init__(self, n_context: int = N_CONTEXT) -> None:
        """Initialise the bandwidths with values suited to check-in data."""
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

    def forward(self, batch: Batch, item_tables: ItemTables, context: Tensor) -> Tensor:
        """Kernel values, float32, shape (B, H, K); 0 in padding.

        Args:
            batch: The queries.
            item_tables: Categories and coordinates of the items.
            context: Query context, shape (B, n_context).
        """
        is_event = (batch.item_idx > 0).float()
        age_h = hours_between(batch.request_s[:, None], batch.occurred_s)
        decay = torch.exp(-age_h[..., None] / self.log_decay_h.exp())  # (B, H, 4)
        month_decay = decay[..., 2]
        rank = torch.arange(is_event.shape[1] - 1, -1, -1, device=is_event.device).float()
        by_rank = torch.exp(-rank / self.log_decay_rank.exp()).expand_as(is_event)
        local_clock = _clock_of(batch)
        age_kernels = [torch.ones_like(is_event), *decay.unbind(-1), by_rank]
        request_kernels = self._request_kernels(batch, local_clock, month_decay)
        succession_kernels = self._succession_kernels(batch, item_tables, local_clock, month_decay)
        coarse_values = [*age_kernels, *request_kernels, *succession_kernels]
        coarse_kernels = dict(zip(KERNELS[: len(coarse_values)], coarse_values, strict=True))
        base_kernels = torch.stack(
            [
                *coarse_kernels.values(),
                *self._fine_time_kernels(batch, local_clock, coarse_kernels),
            ],
            dim=-1,
        )
        learned = self._learned(base_kernels, age_h, rank, context)
        return torch.cat([base_kernels, learned], dim=-1) * is_event[..., None]

    def _request_kernels(
        self, batch: Batch, local_clock: LocalClock, month_decay: Tensor
    ) -> list[Tensor]:
        """Kernels of the hour and day of the request, from "hour" to "weekend_hour"."""
        hour = self._same_hour(
            local_clock.hour, local_hour(batch.request_s, batch.request_offset_min)
        )
        today = local_weekday(batch.request_s, batch.request_offset_min)[:, None]
        weekday = (local_clock.weekday == today).float()
        weekend = ((local_clock.weekday >= 5) == (today >= 5)).float()
        return [hour, hour * month_decay, weekday, weekday * hour, weekend * hour]

    def _succession_kernels(
        self, batch: Batch, item_tables: ItemTables, local_clock: LocalClock, month_decay: Tensor
    ) -> list[Tensor]:
        """Kernels of events after one similar to the last: "transition" to "after_near_hour"."""
        items, last = batch.item_idx, batch.item_idx[:, -1:]
        before, category = _shift(items), item_tables.category[items]
        transition = _is_equal(before, last)
        after_hour = self._same_hour(_shift(local_clock.hour), local_clock.hour[:, -1])
        after_weekend = (_shift(local_clock.weekday) >= 5) == (local_clock.weekday[:, -1:] >= 5)
        wait_h = hours_between(batch.occurred_s, _shift(batch.occurred_s))
        distance_km = (
            (item_tables.xy_km[before] - item_tables.xy_km[last]).square().sum(-1).add(1e-9).sqrt()
        )
        located = item_tables.located[before] * item_tables.located[last]
        after_near = torch.exp(-distance_km / self.log_near_km.exp()) * located
        is_latest = torch.arange(items.shape[1], device=items.device) == items.shape[1] - 1
        request_place = torch.where(
            batch.request_place_idx > 0, batch.request_place_idx, batch.place_idx[:, -1]
        )
        return [
            transition,
            transition * month_decay,
            transition * after_hour,
            transition * _is_equal(_shift(before), items[:, -2:-1]),
            _is_equal(_shift(category), category[:, -1:]) * after_hour,
            after_hour,
            after_hour * month_decay,
            after_hour * after_weekend.float(),
            after_hour * torch.exp(-wait_h / 12.0) * month_decay,
            _is_equal(batch.place_idx, request_place[:, None]),
            is_latest.float().expand_as(transition),
            (local_clock.day == local_clock.day[:, -1:]).float(),
            after_near,
            after_near * after_hour,
        ]

    def _fine_time_kernels(
        self, batch: Batch, local_clock: LocalClock, coarse_kernels: dict[str, Tensor]
    ) -> list[Tensor]:
        """Kernels of the minute of the day and of the gap before an event, from "time" on.

        The current gap is is_known only where the time of the request is given.
        """
        request_hour = local_hour(batch.request_s, batch.request_offset_min)
        time = _circular_gaussian(local_clock.hour, request_hour, self.log_time_width_h.exp())
        log_gap = _log_wait(hours_between(batch.occurred_s, _shift(batch.occurred_s)))
        log_current_gap = _log_wait(hours_between(batch.request_s, batch.occurred_s[:, -1]))
        distance = (log_gap - log_current_gap[:, None]) / self.log_wait_width.exp()
        is_known = batch.time_given[:, None] * (_shift(batch.item_idx) > 0)
        wait = torch.exp(-0.5 * distance.square()) * is_known
        return [
            time,
            time * coarse_kernels["decay_7d"],
            time * coarse_kernels["weekday"],
            time * coarse_kernels["transition"],
            wait,
            wait * coarse_kernels["hour"],
            wait * coarse_kernels["transition"],
            wait * coarse_kernels["after_hour"],
        ]

    def _learned(
        self, base_kernels: Tensor, age_h: Tensor, rank: Tensor, context: Tensor
    ) -> Tensor:
        """MLP over the base kernels, ages and ranks, (B, H, N_LEARNED)."""
        age_features = torch.stack(
            [torch.log1p(age_h) / 5.0, (torch.log1p(rank) / 4.0).expand_as(age_h)], dim=-1
        )
        kernel_features = self.kernel_layer(torch.cat([base_kernels, age_features], dim=-1))
        hidden = nn.functional.gelu(kernel_features + self.context_layer(context)[:, None])
        return torch.sigmoid(self.output_layer(hidden) - 2.0)

    def _same_hour(self, hours: Tensor, hour: Tensor) -> Tensor:
        """Similarity of hours of the day, shape (B, H)."""
        return _circular_gaussian(hours, hour, self.log_hour_width_h.exp())


def _circular_gaussian(hours: Tensor, hour: Tensor, width_h: Tensor) -> Tensor:
    """Gaussian of the circular distance between hours of the day, shape (B, H)."""
    distance = (hours - hour[:, None]).abs()
    distance = torch.minimum(distance, 24.0 - distance)
    return torch.exp(-0.5 * (distance / width_h) ** 2)


def _log_wait(hours: Tensor) -> Tensor:
    """Log of gaps in hours, nearly flat below a few minutes; same shape as the input."""
    return torch.log(hours + SHORT_WAIT_H)


def _clock_of(batch: Batch) -> LocalClock:
    local_s = batch.occurred_s + 60 * batch.utc_offset_min
    return LocalClock(
        hour=local_hour(batch.occurred_s, batch.utc_offset_min),
        weekday=local_weekday(batch.occurred_s, batch.utc_offset_min),
        day=torch.div(local_s, DAY_S, rounding_mode="floor"),
    )


def _shift(column: Tensor) -> Tensor:
    """Value of the event before each event, same shape; 0 for the first event."""
    return nn.functional.pad(column[:, :-1], (1, 0))


def _is_equal(column: Tensor, value: Tensor) -> Tensor:
    """1 where known and equal, shape of ``column``."""
    return ((column == value) & (value > 0)).float()
