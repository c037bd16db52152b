"""Features of one user's history at the moment of a basket."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from benchmarks.ceiling.item_statistics import DAY_S, ItemStatistics
from chronotope.contracts.event_log import EventLog, Float64, Int64

HALF_LIVES_D: Final = (3, 7, 14, 30, 60, 120, 240)
HALF_LIVES_BASKETS: Final = (2, 5, 10, 25)
LATEST_BASKETS: Final = (1, 3, 5, 10)
CYCLES_D: Final = (7, 14, 28)
NEAR_H: Final = 2
"""Hours of the day this near to the request's count as the same."""

Columns = dict[str, Float64]


@dataclass(frozen=True, slots=True)
class BasketHistory:
    """Events of a user before a basket, shape (n,) each, and the moment of the basket.

    Attributes:
        item_idx: Items.
        category: Their categories.
        age_days: Days before the basket.
        basket: Number of the past basket, 0 for the first.
        is_same_day: Whether it is the weekday of the request.
        is_near_hour: Whether the hour of the day is near the request's.
        is_day_type: Whether both are at a weekend, or neither is.
        own_items: The distinct items, increasing, shape (n_own,).
        own_row: Position in ``own_items`` of each event.
        request_hour: Local hour of the day.
        request_weekday: 0 to 6.
    """

    item_idx: Int64
    category: Int64
    age_days: Float64
    basket: Int64
    is_same_day: npt.NDArray[np.bool_]
    is_near_hour: npt.NDArray[np.bool_]
    is_day_type: npt.NDArray[np.bool_]
    own_items: Int64
    own_row: Int64
    request_hour: int
    request_weekday: int

    @classmethod
    def before(cls, log: EventLog, first: int, basket: int, item_category: Int64) -> Self:
        """History of the user of a basket.

        Args:
            log: All events.
            first: Position of the user's first event.
            basket: Position of the basket's first event.
            item_category: Category of each item.
        """
        rows = slice(first, basket + 1)
        local_s = log.occurred_s[rows] + 60 * log.utc_offset_min[rows].astype(np.int64)
        hour, weekday = local_s // 3600 % 24, (local_s // DAY_S + 3) % 7
        hours_apart = np.abs(hour - hour[-1])[:-1]
        past = slice(first, basket)
        item_idx = log.item_idx[past].astype(np.int64)
        own_items, own_row = np.unique(item_idx, return_inverse=True)
        seconds = log.occurred_s[past]
        return cls(
            item_idx=item_idx,
            category=item_category[item_idx],
            age_days=(log.occurred_s[basket] - seconds) / DAY_S,
            basket=np.cumsum(np.diff(seconds, prepend=seconds[0]) > 0),
            is_same_day=weekday[:-1] == weekday[-1],
            is_near_hour=np.minimum(hours_apart, 24 - hours_apart) <= NEAR_H,
            is_day_type=(weekday[:-1] >= 5) == (weekday[-1] >= 5),
            own_items=own_items,
            own_row=own_row.ravel(),
            request_hour=int(hour[-1]),
            request_weekday=int(weekday[-1]),
        )

    @property
    def n_baskets(self) -> int:
        """Baskets of the past."""
        return int(self.basket[-1]) + 1

    def own_columns(self, statistics: ItemStatistics) -> Columns:
        """Features of the distinct items, shape (n_own,) each."""
        columns = self._counts() | self._basket_counts()
        return columns | self._clock() | self._intervals(statistics)

    def _sums(self, weights: npt.NDArray[np.generic]) -> Float64:
        n_own = len(self.own_items)
        return np.asarray(np.bincount(self.own_row, weights, minlength=n_own), dtype=np.float64)

    def _latest(self, values: Float64) -> Float64:
        latest = np.zeros(len(self.own_items))
        latest[self.own_row] = values  # events are in order of time: the last one stays
        return latest

    def _counts(self) -> Columns:
        count = self._sums(np.ones(len(self.item_idx)))
        columns = {
            "own.count": count,
            "own.share": count / len(self.item_idx),
            "own.age": self._latest(self.age_days),
            "own.mean_age": self._sums(self.age_days) / count,
        }
        for days in HALF_LIVES_D:
            columns[f"own.decay_{days}d"] = self._sums(0.5 ** (self.age_days / days))
        return columns

    def _basket_counts(self) -> Columns:
        baskets_ago = self.n_baskets - 1 - self.basket
        sizes = np.bincount(self.basket)[self.basket]
        columns = {
            "baskets.share": self._sums(np.ones(len(self.item_idx))) / self.n_baskets,
            "baskets.ago": self._latest(baskets_ago.astype(float)),
            "baskets.by_size": self._sums(1.0 / sizes) / self.n_baskets,
        }
        for half_life in HALF_LIVES_BASKETS:
            name = f"baskets.decay_{half_life}"
            columns[name] = self._sums(0.5 ** (baskets_ago / half_life))
        for n_latest in LATEST_BASKETS:
            columns[f"baskets.in_latest_{n_latest}"] = self._sums(baskets_ago < n_latest)
        return columns

    def _clock(self) -> Columns:
        count = self._sums(np.ones(len(self.item_idx)))
        recent = 0.5 ** (self.age_days / 60)
        return {
            "clock.weekday_share": self._sums(self.is_same_day) / count,
            "clock.weekday_count": self._sums(self.is_same_day),
            "clock.hour_share": self._sums(self.is_near_hour) / count,
            "clock.day_type_share": self._sums(self.is_day_type) / count,
            "clock.day_type_recent": self._sums(self.is_day_type * recent),
        }

    def _intervals(self, statistics: ItemStatistics) -> Columns:
        order = np.lexsort((-self.age_days, self.own_row))
        row, ages = self.own_row[order], self.age_days[order]
        waited = ages[:-1] - ages[1:]
        is_wait = (row[1:] == row[:-1]) & (waited > 0)
        row, waited, n_own = row[1:][is_wait], waited[is_wait], len(self.own_items)
        n_waits = np.bincount(row, minlength=n_own)
        some = np.where(n_waits > 0, n_waits, np.nan)
        total = np.bincount(row, waited, minlength=n_own)
        mean = total / some
        spread = np.sqrt(
            np.maximum(np.bincount(row, waited**2, minlength=n_own) / some - mean**2, 0)
        )
        geometric = np.exp(np.bincount(row, np.log(waited + 0.1), minlength=n_own) / some)
        age, usual = self._latest(self.age_days), statistics.interval_days[self.own_items]
        shrunk = (total + 2 * usual) / (n_waits + 2)
        columns = {
            "interval.mean": mean,
            "interval.spread": np.where(n_waits > 1, spread, np.nan),
            "interval.overdue": np.log((age + 0.5) / (mean + 0.5)),
            "interval.overdue_geometric": np.log((age + 0.5) / (geometric + 0.5)),
            "interval.overdue_shrunk": np.log((age + 0.5) / (shrunk + 0.5)),
            "interval.overdue_item": np.log((age + 0.5) / (usual + 0.5)),
            "interval.excess": (age - mean) / (spread + 2),
        }
        for days in CYCLES_D:
            phase = np.cos(2 * np.pi * self.age_days / days)
            columns[f"interval.cycle_{days}d"] = self._sums(phase) / np.maximum(n_waits + 1, 1)
        return columns

    def category_columns(self, categories: Int64, n_categories: int) -> Columns:
        """Features of the categories of candidates, shape (n_candidates,) each."""

        def sums(weights: Float64) -> Float64:
            totals = np.bincount(self.category, weights, minlength=n_categories)
            return np.asarray(totals[categories], dtype=np.float64)

        latest, first = np.full((2, n_categories), np.nan)
        latest[self.category] = self.age_days
        first[self.category[::-1]] = self.age_days[::-1]
        pairs = np.unique(self.category * self.n_baskets + self.basket)
        n_baskets = np.bincount(pairs // self.n_baskets, minlength=n_categories)[categories]
        age = latest[categories]
        several = np.where(n_baskets > 1, n_baskets - 1.0, np.nan)
        interval = (first[categories] - age) / several
        return {
            "category.count": sums(np.ones(len(self.category))),
            "category.decay_14d": sums(0.5 ** (self.age_days / 14)),
            "category.decay_60d": sums(0.5 ** (self.age_days / 60)),
            "category.age": age,
            "category.baskets": n_baskets.astype(float),
            "category.interval": interval,
            "category.overdue": np.log((age + 0.5) / (interval + 0.5)),
        }

    def user_columns(self) -> dict[str, float]:
        """Features of the user and the moment, one number each."""
        sizes = np.bincount(self.basket).astype(float)
        ages = np.zeros(self.n_baskets)
        ages[self.basket] = self.age_days
        mean_gap = float(-np.diff(ages).mean()) if self.n_baskets > 1 else 7.0
        is_near = np.zeros(self.n_baskets)
        is_near[self.basket] = self.is_near_hour
        return {
            "user.events": float(len(self.item_idx)),
            "user.baskets": float(self.n_baskets),
            "user.distinct_share": len(self.own_items) / len(self.item_idx),
            "user.gap": float(ages[-1]),
            "user.mean_gap": mean_gap,
            "user.gap_ratio": float(np.log((ages[-1] + 0.1) / (mean_gap + 0.1))),
            "user.last_size": float(sizes[-1]),
            "user.size": float(sizes.mean()),
            "user.recent_size": float(sizes[-10:].mean()),
            "user.size_at_hour": float((sizes * is_near).sum() / max(is_near.sum(), 1.0)),
            "user.hour": float(self.request_hour),
            "user.weekday": float(self.request_weekday),
        }
