"""Space-time kernels: weight of each event of the history for a query."""

import math
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from chronotope.models.batch import (
    DAY_S,
    Batch,
    hour_distance,
    hours_between,
    local_hour,
    local_weekday,
    lookup,
)
from chronotope.models.item_tables import ItemTables

DECAYS: Final = ("decay_1d", "decay_7d", "decay_30d", "recency_3h", "rank", "near")
"""Factors exp(-distance / bandwidth)."""

GAUSSIANS: Final = ("same_hour", "after_same_hour", "same_time", "same_gap")
"""Factors exp(-(distance / bandwidth)^2 / 2)."""

FACTORS: Final = (*DECAYS, *GAUSSIANS)
"""Factors with a trained bandwidth."""

INDICATORS: Final = (
    "same_weekday",
    "same_day_type",
    "after_same_item",
    "after_same_two_items",
    "after_same_category",
    "after_same_day_type",
    "after_short_gap",
    "after_located",
    "same_place",
    "latest",
    "latest_day",
    "known_gap",
)
"""Factors without parameters, 0 or 1 except ``after_short_gap``, which decays in twelve hours."""

KERNEL_FACTORS: Final[dict[str, tuple[str, ...]]] = {
    "count": (),
    "decay_1d": ("decay_1d",),
    "decay_7d": ("decay_7d",),
    "decay_30d": ("decay_30d",),
    "recency_3h": ("recency_3h",),
    "rank": ("rank",),
    "hour": ("same_hour",),
    "hour_30d": ("same_hour", "decay_30d"),
    "weekday": ("same_weekday",),
    "weekday_hour": ("same_weekday", "same_hour"),
    "weekend_hour": ("same_day_type", "same_hour"),
    "transition": ("after_same_item",),
    "transition_30d": ("after_same_item", "decay_30d"),
    "transition_hour": ("after_same_item", "after_same_hour"),
    "transition_2": ("after_same_two_items",),
    "category_hour": ("after_same_category", "after_same_hour"),
    "after_hour": ("after_same_hour",),
    "after_hour_30d": ("after_same_hour", "decay_30d"),
    "after_weekend_hour": ("after_same_day_type", "after_same_hour"),
    "after_recent": ("after_same_hour", "after_short_gap", "decay_30d"),
    "place": ("same_place",),
    "last": ("latest",),
    "today": ("latest_day",),
    "after_near": ("near", "after_located"),
    "after_near_hour": ("near", "after_located", "after_same_hour"),
    "time": ("same_time",),
    "time_7d": ("same_time", "decay_7d"),
    "time_weekday": ("same_time", "same_weekday"),
    "time_transition": ("same_time", "after_same_item"),
    "wait": ("same_gap", "known_gap"),
    "wait_hour": ("same_gap", "known_gap", "same_hour"),
    "wait_transition": ("same_gap", "known_gap", "after_same_item"),
    "wait_after_hour": ("same_gap", "known_gap", "after_same_hour"),
}
"""Each kernel is the product of these factors; "after" compares the events before."""

KERNELS: Final = tuple(KERNEL_FACTORS)
"""Names of the kernels, in the order of the last axis of ``KernelBank``'s output."""

SHORT_WAIT_H: Final = 0.05
"""Offset of gaps in hours: shorter ones hardly differ."""


class EventKernels(NamedTuple):
    """Kernels of the latest L events.

    Attributes:
        recency: The kernel ``decay_30d``, shape (B, L).
        bank: All kernels, shape (B, L, K); None where the repeat head does not read them.
    """

    recency: Tensor
    bank: Tensor | None


class LocalClock(NamedTuple):
    """Local hour, weekday and day of each event, each (B, L)."""

    hour: Tensor
    weekday: Tensor
    day: Tensor


class KernelBank(nn.Module):
    """K non-negative kernels between a query and each event of its history.

    Bandwidths (decay times in hours, the widths of the Gaussians over the hour of the day,
    over the time of day and over the log of the wait since the event before, the decay over
    ranks) are parameters on a log scale. The cost is linear in L; every kernel is
    elementwise, so the bank is bound by memory bandwidth.
    """

    def __init__(self) -> None:
        """Initialise the bandwidths with values suited to check-in data."""
        super().__init__()
        self.log_decay_h = nn.Parameter(torch.log(torch.tensor([24.0, 168.0, 720.0, 3.0])))
        self.log_hour_width_h = nn.Parameter(torch.tensor(math.log(1.5)))
        self.log_time_width_h = nn.Parameter(torch.tensor(math.log(0.5)))
        self.log_wait_width = nn.Parameter(torch.tensor(math.log(0.4)))
        self.log_decay_rank = nn.Parameter(torch.tensor(math.log(5.0)))
        self.log_near_km = nn.Parameter(torch.tensor(math.log(0.5)))

    def forward(self, batch: Batch, item_tables: ItemTables) -> Tensor:
        """Kernel values, float32, shape (B, L, K); 0 in padding.

        Args:
            batch: The queries.
            item_tables: Categories and coordinates of the items.
        """
        is_event = (batch.item_idx > 0).float()
        local_clock = _local_clock(batch)
        before = _shift(batch.item_idx)
        distances = torch.stack(
            [
                *_decay_distances(batch, item_tables, before),
                *_gaussian_distances(batch, local_clock),
            ]
        )  # (F, B, L)
        indicators = _indicators(batch, item_tables, local_clock, before)
        log_bandwidths = self._log_bandwidths()
        powers = log_bandwidths.new_tensor([1.0] * len(DECAYS) + [2.0] * len(GAUSSIANS))
        rates = torch.exp(-powers * log_bandwidths)  # (F,)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            fused = FusedKernels.apply(rates, distances, is_event, *indicators)  # type: ignore[no-untyped-call]
            bank: Tensor = fused
        else:
            bank = kernel_products(rates, distances, is_event, indicators)
        return bank.permute(1, 2, 0)  # (K, B, L) -> (B, L, K)

    def event_kernels(self, batch: Batch, item_tables: ItemTables, *, whole: bool) -> EventKernels:
        """The kernels that a network reads.

        Args:
            batch: The queries with their latest L events.
            item_tables: Categories and coordinates of the items.
            whole: All kernels, not ``decay_30d`` alone.
        """
        if whole:
            bank = self(batch, item_tables)
            return EventKernels(bank[..., KERNELS.index("decay_30d")], bank)
        age_h = hours_between(batch.request_s[:, None], batch.occurred_s)
        rate = torch.exp(-self.log_decay_h[2])
        return EventKernels(torch.exp(-rate * age_h) * (batch.item_idx > 0), None)

    def _log_bandwidths(self) -> Tensor:
        """Log of the bandwidth of each of ``FACTORS``, shape (F,)."""
        hour_width = self.log_hour_width_h
        other_decays = [self.log_decay_rank, self.log_near_km]
        widths = [hour_width, hour_width, self.log_time_width_h, self.log_wait_width]
        return torch.cat([self.log_decay_h, torch.stack([*other_decays, *widths])])


class FusedKernels(torch.autograd.Function):
    """``kernel_products`` with a backward pass that stores nothing but the kernels themselves.

    A factor is exp(-rate * distance), so the derivative of each kernel that contains it by the
    rate is -distance times the kernel. Automatic differentiation would keep and read some
    hundred arrays of the size of a kernel.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, rates: Tensor, distances: Tensor, is_event: Tensor, *indicators: Tensor
    ) -> Tensor:
        """Kernels, shape (K, B, L)."""
        bank = kernel_products(rates, distances, is_event, indicators)
        ctx.save_for_backward(bank, distances)
        return bank

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the rates, shape (F,)."""
        bank, distances = ctx.saved_tensors
        weighted = (gradient * bank).flatten(1)  # (K, B * L)
        of_factor = _contained_factors(bank) @ weighted  # (F, B * L)
        rate_gradient = -(of_factor * distances.flatten(1)).sum(1)
        return rate_gradient, *([None] * (len(INDICATORS) + 2))


def _contained_factors(like: Tensor) -> Tensor:
    """1 where a kernel contains a factor with a bandwidth, float32, shape (F, K)."""
    return like.new_tensor(
        [[float(factor in names) for names in KERNEL_FACTORS.values()] for factor in FACTORS]
    )


def kernel_products(
    rates: Tensor, distances: Tensor, is_event: Tensor, indicators: tuple[Tensor, ...]
) -> Tensor:
    """Products of factors, shape (K, B, L).

    Args:
        rates: Inverse bandwidths, squared ones of Gaussians, shape (F,).
        distances: Distances, halved squares of them for Gaussians, shape (F, B, L).
        is_event: 1 for events, 0 in padding, shape (B, L).
        indicators: One tensor (B, L) for each of ``INDICATORS``.
    """
    factors = torch.exp(distances * -rates[:, None, None])  # (F, B, L)
    named = dict(zip((*FACTORS, *INDICATORS), (*factors.unbind(), *indicators), strict=True))
    kernels = []
    for factor_names in KERNEL_FACTORS.values():
        kernel = is_event
        for factor_name in factor_names:
            kernel = kernel * named[factor_name]
        kernels.append(kernel)
    return torch.stack(kernels)


def _decay_distances(batch: Batch, item_tables: ItemTables, before: Tensor) -> list[Tensor]:
    """Hours, ranks and kilometres, one (B, L) for each of ``DECAYS``."""
    age_h = hours_between(batch.request_s[:, None], batch.occurred_s)
    n_events = age_h.shape[1]
    rank = torch.arange(n_events - 1, -1, -1, device=age_h.device).float().expand_as(age_h)
    before_km = (lookup(km, before) for km in (item_tables.east_km, item_tables.north_km))
    distance_km = item_tables.distance_km(batch.item_idx[:, -1:], *before_km)
    return [*([age_h] * 4), rank, distance_km]


def _gaussian_distances(batch: Batch, local_clock: LocalClock) -> list[Tensor]:
    """Halved squares of distances in time, one (B, L) for each of ``GAUSSIANS``.

    The gap before an event is compared with the current one, which is known only where the
    time of the request is given.
    """
    request_hour = local_hour(batch.request_s, batch.request_offset_min)[:, None]  # (B, 1)
    from_request = _half_square(hour_distance(local_clock.hour, request_hour))
    from_last = hour_distance(_shift(local_clock.hour), local_clock.hour[:, -1:])
    log_gap = _log_wait(hours_between(batch.occurred_s, _shift(batch.occurred_s)))
    log_current_gap = _log_wait(hours_between(batch.request_s, batch.occurred_s[:, -1]))
    gap_distance = log_gap - log_current_gap[:, None]
    return [from_request, _half_square(from_last), from_request, _half_square(gap_distance)]


def _indicators(
    batch: Batch, item_tables: ItemTables, local_clock: LocalClock, before: Tensor
) -> tuple[Tensor, ...]:
    """One (B, L) for each of ``INDICATORS``."""
    items, last = batch.item_idx, batch.item_idx[:, -1:]
    request_day = local_weekday(batch.request_s, batch.request_offset_min)[:, None]
    weekday, is_weekend = local_clock.weekday, local_clock.weekday >= 5
    day_before = _shift(weekday) >= 5
    after_same_item = _is_equal(before, last)
    category_before = lookup(item_tables.category, before)
    gap_h = hours_between(batch.occurred_s, _shift(batch.occurred_s))
    n_events = items.shape[1]
    is_latest = torch.arange(n_events, device=items.device) == n_events - 1
    request_place = torch.where(
        batch.request_place_idx > 0, batch.request_place_idx, batch.place_idx[:, -1]
    )
    is_after_event = (before > 0).float()
    return (
        (weekday == request_day).float(),
        (is_weekend == (request_day >= 5)).float(),
        after_same_item,
        after_same_item * _is_equal(_shift(before), items[:, -2:-1]),
        _is_equal(category_before, item_tables.category[last]),
        (day_before == is_weekend[:, -1:]).float(),
        torch.exp(-gap_h / 12.0),
        lookup(item_tables.located, before) * item_tables.located[last],
        _is_equal(batch.place_idx, request_place[:, None]),
        is_latest.float().expand_as(after_same_item),
        (local_clock.day == local_clock.day[:, -1:]).float(),
        batch.time_given[:, None] * is_after_event,
    )


def _half_square(distance: Tensor) -> Tensor:
    return 0.5 * distance.square()


def _log_wait(hours: Tensor) -> Tensor:
    """Log of gaps in hours, nearly flat below a few minutes; same shape as the input."""
    return torch.log(hours + SHORT_WAIT_H)


def _local_clock(batch: Batch) -> LocalClock:
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
