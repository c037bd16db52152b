"""Noise as its own visible step: what is dropped before features, and why."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts import columns as c
from chronotope.spacetime.distances import haversine_km

Mask = npt.NDArray[np.bool_]

COLUMNS: Final = (c.USER_ID, c.ITEM_ID, c.OCCURRED_AT, c.LAT, c.LON)
"""All that is looked at; nothing else of a large log has to be read."""


class NoiseConfig(BaseModel):
    """What counts as noise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repeat_s: float = Field(
        0, ge=0, le=86_400, description="Same user and item within so many seconds; 0 is off"
    )
    max_speed_km_h: float = Field(
        1000, gt=0, description="Faster travel between a user's located events is impossible"
    )
    max_events_per_h: int = Field(
        3600, ge=1, description="A user with more events in one hour is a machine in that hour"
    )
    min_events: int = Field(
        0, ge=0, description="k-core: users and items with fewer events are dropped; 0 is off"
    )


@dataclass(frozen=True, slots=True)
class NoiseReport:
    """Counts of one filtering, by the first reason that applies.

    Attributes:
        n_events: Events looked at.
        n_kept: Events kept.
        dropped: Events dropped by reason.
    """

    n_events: int
    n_kept: int
    dropped: dict[str, int]


def filter_noise(events: pa.Table, config: NoiseConfig) -> tuple[Mask, NoiseReport]:
    """Decide which events are kept; the events themselves stay as they are.

    Args:
        events: ``COLUMNS`` of events in any order.
        config: What counts as noise.

    Returns:
        The mask of kept events in the order given, shape (n_events,), and the counts.
    """
    user, item = _codes(events, c.USER_ID), _codes(events, c.ITEM_ID)
    when = np.asarray(events.column(c.OCCURRED_AT).cast(pa.int64()).to_numpy()) / 1e6  # s
    reasons = {
        "repeat": _repeats(user, item, when, config.repeat_s),
        "speed": _too_fast(user, when, events, config.max_speed_km_h),
        "rate": _too_many(user, when, config.max_events_per_h),
    }
    keep, dropped = np.ones(len(events), dtype=np.bool_), {}
    for reason, noisy in reasons.items():
        dropped[reason] = int((keep & noisy).sum())
        keep &= ~noisy
    core = _core(user, item, keep, config.min_events)
    dropped["core"] = int(keep.sum() - core.sum())
    return core, NoiseReport(len(events), int(core.sum()), dropped)


def _codes(events: pa.Table, name: str) -> npt.NDArray[np.int32]:
    encoded = events.column(name).dictionary_encode().combine_chunks()  # texts may pass 2 GB
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int32)


def _repeats(
    user: npt.NDArray[np.int32],
    item: npt.NDArray[np.int32],
    when: npt.NDArray[np.float64],
    within_s: float,
) -> Mask:
    noisy = np.zeros(len(user), dtype=np.bool_)
    if within_s:
        order = np.lexsort((when, item, user))
        same = (np.diff(user[order]) == 0) & (np.diff(item[order]) == 0)
        noisy[order[1:]] = same & (np.diff(when[order]) <= within_s)
    return noisy


def _too_fast(
    user: npt.NDArray[np.int32], when: npt.NDArray[np.float64], events: pa.Table, bound: float
) -> Mask:
    """Events reached faster than the bound from the user's previous located event."""
    noisy = np.zeros(len(user), dtype=np.bool_)
    lat, lon = (
        np.asarray(pc.fill_null(events.column(name), np.nan).to_numpy()) for name in (c.LAT, c.LON)
    )
    at = np.flatnonzero(np.isfinite(lat) & np.isfinite(lon))
    order = at[np.lexsort((when[at], user[at]))]
    a, b = order[:-1], order[1:]
    km = haversine_km(lat=lat[a], lon=lon[a], to_lat=lat[b], to_lon=lon[b])
    hours = np.maximum(when[b] - when[a], 1.0) / 3600
    noisy[b] = (user[a] == user[b]) & (km / hours > bound)
    return noisy


def _too_many(user: npt.NDArray[np.int32], when: npt.NDArray[np.float64], bound: int) -> Mask:
    hour = (when // 3600).astype(np.int64)
    hour -= hour.min(initial=0)
    key = user * (hour.max(initial=0) + 1) + hour  # one number: pairs are slow to sort
    _, group, size = np.unique(key, return_inverse=True, return_counts=True)
    return np.asarray(size[group] > bound)


def _core(user: npt.NDArray[np.int32], item: npt.NDArray[np.int32], keep: Mask, k: int) -> Mask:
    """Drop users and items with fewer than k events until none is left."""
    while k:
        enough = keep.copy()
        for codes in (user, item):
            enough &= np.bincount(codes[keep], minlength=codes.max(initial=0) + 1)[codes] >= k
        if enough.sum() == keep.sum():
            break
        keep = enough
    return keep
