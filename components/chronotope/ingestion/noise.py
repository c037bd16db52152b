"""Noise filter: events that are dropped before features are built, counted by reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts import columns as c
from chronotope.spacetime.distances import haversine_km

Mask = npt.NDArray[np.bool_]

COLUMNS: Final = (c.USER_ID, c.ITEM_ID, c.OCCURRED_AT, c.LAT, c.LON)
"""Columns that the filter reads."""


class NoiseConfig(BaseModel):
    """Thresholds of the noise filter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repeat_s: float = Field(
        0,
        ge=0,
        le=86_400,
        description="Drop an event of the same user and item within this many seconds after the "
        "previous one; 0 disables the filter",
    )
    max_speed_km_h: float = Field(
        1000,
        gt=0,
        description="Drop an event that the user could reach only at a higher speed from the "
        "previous event with coordinates, km/h",
    )
    max_events_per_h: int = Field(
        3600,
        ge=1,
        description="Drop all events of a user in a clock hour in which the user has more events",
    )
    min_events: int = Field(
        0,
        ge=0,
        description="Drop users and items with fewer events, repeatedly (k-core); 0 disables the "
        "filter",
    )


@dataclass(frozen=True, slots=True)
class NoiseReport:
    """Counts of the noise filter.

    Attributes:
        n_events: Number of events before the filter.
        n_kept: Number of events kept.
        dropped: Number of events dropped by reason: ``repeat``, ``speed``, ``rate`` or ``core``;
            the first reason that applies counts.
    """

    n_events: int
    n_kept: int
    dropped: dict[str, int]


def filter_noise(
    events: pa.Table, noise_config: NoiseConfig, is_labelled: Mask | None = None
) -> tuple[Mask, NoiseReport]:
    """Select the events that are not noise.

    Args:
        events: ``COLUMNS`` of the events, in any order.
        noise_config: Thresholds.
        is_labelled: Whether a label calls an event anomalous, shape (n_events,); None without
            such labels.

    Returns:
        Mask of the events to keep, shape (n_events,), and the counts by reason.
    """
    event_codes = EventCodes.of(events)
    keep_mask, dropped = filter_user_noise(events, event_codes, noise_config, is_labelled)
    core_mask = _k_core(event_codes, keep_mask, noise_config.min_events)
    dropped["core"] = int(keep_mask.sum() - core_mask.sum())
    return core_mask, NoiseReport(len(events), int(core_mask.sum()), dropped)


@dataclass(frozen=True, slots=True)
class EventCodes:
    """Users and items of events as integers.

    Attributes:
        user_idx: Code of each event's user, shape (n_events,).
        item_idx: Code of each event's item, shape (n_events,).
        item_ids: Id of each code of an item.
    """

    user_idx: npt.NDArray[np.int32]
    item_idx: npt.NDArray[np.int32]
    item_ids: pa.Array

    @classmethod
    def of(cls, events: pa.Table) -> Self:
        """Codes of the users and items of some events."""
        user_idx, _ = _codes(events, c.USER_ID)
        return cls(user_idx, *_codes(events, c.ITEM_ID))


def filter_user_noise(
    events: pa.Table,
    event_codes: EventCodes,
    noise_config: NoiseConfig,
    is_labelled: Mask | None = None,
) -> tuple[Mask, dict[str, int]]:
    """Select the events that are not noise by the events of their users alone, without k-core.

    Args:
        events: ``COLUMNS`` of all events of some users, in any order.
        event_codes: Codes of their users and items.
        noise_config: Thresholds.
        is_labelled: Whether a label calls an event anomalous, shape (n_events,); None without
            such labels.

    Returns:
        Mask of the events to keep, shape (n_events,), and the number of dropped ones by reason.
    """
    user_idx, item_idx = event_codes.user_idx, event_codes.item_idx
    event_times_s = np.asarray(events.column(c.OCCURRED_AT).cast(pa.int64()).to_numpy()) / 1e6  # s
    labelled_masks = {} if is_labelled is None else {"labelled anomalous": is_labelled}
    reason_masks = labelled_masks | {
        "repeat": _repeats(user_idx, item_idx, event_times_s, noise_config.repeat_s),
        "speed": _too_fast(user_idx, event_times_s, events, noise_config.max_speed_km_h),
        "rate": _too_frequent(user_idx, event_times_s, noise_config.max_events_per_h),
    }
    keep_mask, dropped = np.ones(len(events), dtype=np.bool_), {}
    for reason, is_noise in reason_masks.items():
        dropped[reason] = int((keep_mask & is_noise).sum())
        keep_mask &= ~is_noise
    return keep_mask, dropped


def core_step(
    event_codes: EventCodes,
    keep_mask: Mask,
    item_counts: npt.NDArray[np.int64],
    min_events: int,
) -> Mask:
    """Mask of the kept events whose user and item have enough of them: one step to the k-core.

    Args:
        event_codes: Codes of all events of some users.
        keep_mask: Events that are kept so far, shape (n_events,).
        item_counts: Number of kept events of each code of an item, by any user.
        min_events: Number of events that are enough.
    """
    user_counts = _kept_counts(event_codes.user_idx, keep_mask)
    has_enough_users = user_counts[event_codes.user_idx] >= min_events
    return keep_mask & has_enough_users & (item_counts[event_codes.item_idx] >= min_events)


def is_among(events: pa.Table, event_ids: Sequence[str]) -> Mask | None:
    """Whether each event has one of some ids, shape (n_events,); None without ids.

    Args:
        events: Column ``event_id``.
        event_ids: The ids.
    """
    if not event_ids:
        return None
    id_column = events.column(c.EVENT_ID).cast(pa.string())
    return np.asarray(pc.is_in(id_column, value_set=pa.array(event_ids, pa.string())))


def _codes(events: pa.Table, column_name: str) -> tuple[npt.NDArray[np.int32], pa.Array]:
    """Code of each row's id, and the id of each code."""
    # Encoded before the chunks are combined: the texts may exceed 2 GB, the limit of an array.
    encoded_column = events.column(column_name).dictionary_encode().combine_chunks()
    if isinstance(encoded_column, pa.ChunkedArray):  # without rows
        return np.zeros(0, np.int32), pa.array([], pa.string())
    codes = np.asarray(encoded_column.indices.to_numpy(zero_copy_only=False), dtype=np.int32)
    return codes, encoded_column.dictionary


def _repeats(
    user_idx: npt.NDArray[np.int32],
    item_idx: npt.NDArray[np.int32],
    event_times_s: npt.NDArray[np.float64],
    within_s: float,
) -> Mask:
    is_noise = np.zeros(len(user_idx), dtype=np.bool_)
    if within_s:
        row_order = np.lexsort((event_times_s, item_idx, user_idx))
        is_same = (np.diff(user_idx[row_order]) == 0) & (np.diff(item_idx[row_order]) == 0)
        is_noise[row_order[1:]] = is_same & (np.diff(event_times_s[row_order]) <= within_s)
    return is_noise


def _too_fast(
    user_idx: npt.NDArray[np.int32],
    event_times_s: npt.NDArray[np.float64],
    events: pa.Table,
    max_speed_km_h: float,
) -> Mask:
    """Mask of events reached faster than the limit from the previous event with coordinates."""
    is_noise = np.zeros(len(user_idx), dtype=np.bool_)
    lat_deg, lon_deg = (
        np.asarray(pc.fill_null(events.column(column_name), np.nan).to_numpy())
        for column_name in (c.LAT, c.LON)
    )
    located_rows = np.flatnonzero(np.isfinite(lat_deg) & np.isfinite(lon_deg))
    row_order = located_rows[np.lexsort((event_times_s[located_rows], user_idx[located_rows]))]
    earlier_rows, later_rows = row_order[:-1], row_order[1:]
    distance_km = haversine_km(
        lat=lat_deg[earlier_rows],
        lon=lon_deg[earlier_rows],
        to_lat=lat_deg[later_rows],
        to_lon=lon_deg[later_rows],
    )
    gap_h = np.maximum(event_times_s[later_rows] - event_times_s[earlier_rows], 1.0) / 3600
    is_noise[later_rows] = (user_idx[earlier_rows] == user_idx[later_rows]) & (
        distance_km / gap_h > max_speed_km_h
    )
    return is_noise


def _too_frequent(
    user_idx: npt.NDArray[np.int32], event_times_s: npt.NDArray[np.float64], max_events: int
) -> Mask:
    hour_idx = (event_times_s // 3600).astype(np.int64)
    hour_idx -= hour_idx.min(initial=0)
    # One number for user and hour, since sorting pairs is slow.
    user_hour = user_idx * (hour_idx.max(initial=0) + 1) + hour_idx
    _, group_idx, group_sizes = np.unique(user_hour, return_inverse=True, return_counts=True)
    return np.asarray(group_sizes[group_idx] > max_events)


def _k_core(event_codes: EventCodes, keep_mask: Mask, min_events: int) -> Mask:
    """Mask of the k-core: users and items with too few events are removed until none is left."""
    while min_events:
        item_counts = _kept_counts(event_codes.item_idx, keep_mask)
        core_mask = core_step(event_codes, keep_mask, item_counts, min_events)
        if core_mask.sum() == keep_mask.sum():
            break
        keep_mask = core_mask
    return keep_mask


def _kept_counts(id_codes: npt.NDArray[np.int32], keep_mask: Mask) -> npt.NDArray[np.int64]:
    """Number of kept events of each code."""
    return np.bincount(id_codes[keep_mask], minlength=id_codes.max(initial=0) + 1)
