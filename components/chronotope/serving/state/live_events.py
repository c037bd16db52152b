"""Posted events, completed with the dataset's defaults as ingestion completes them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from chronotope.contracts import columns as c
from chronotope.serving.settings import ServeSettings
from chronotope.spacetime.cells import cell_names, h3_cells
from chronotope.spacetime.clock import utc_offsets


class LiveEvent(NamedTuple):
    """Event of the interaction log.

    Attributes:
        occurred_us: UTC microseconds.
        item_id: As posted.
        event_type: As posted, or the default of the dataset.
        place_id: As posted, or the H3 cell of the coordinates if the dataset has cells.
        utc_offset_min: Minutes, as posted or by the users' time zone; 0 if unknown.
    """

    occurred_us: int
    item_id: str
    event_type: str
    place_id: str | None
    utc_offset_min: int


def parse_live_events(
    payloads: Sequence[dict[str, Any]], settings: ServeSettings
) -> list[LiveEvent]:
    """Events of logged payloads.

    Args:
        payloads: Payloads of the interaction log.
        settings: Defaults of the dataset: event type, time zone, cell resolution.
    """
    times_us = [
        to_microseconds(datetime.fromisoformat(payload[c.OCCURRED_AT])) for payload in payloads
    ]
    default_offsets = _local_offsets(times_us, settings)
    cell_ids = _cell_ids(payloads, settings)
    return [
        LiveEvent(
            occurred_us,
            payload[c.ITEM_ID],
            payload.get(c.EVENT_TYPE) or settings.event_type,
            payload.get(c.PLACE_ID) or cell_id,
            offset if payload.get(c.UTC_OFFSET_MIN) is None else payload[c.UTC_OFFSET_MIN],
        )
        for occurred_us, payload, offset, cell_id in zip(
            times_us, payloads, default_offsets, cell_ids, strict=True
        )
    ]


def to_microseconds(timestamp: datetime) -> int:
    """UTC microseconds since 1970."""
    return round(timestamp.timestamp() * 1_000_000)


def _local_offsets(times_us: list[int], settings: ServeSettings) -> list[int]:
    """UTC offsets of the users' time zone, for events posted without one."""
    if settings.local_zone is None:
        return [0] * len(times_us)
    times_s = np.array(times_us, np.int64) // 1_000_000
    offsets_min: list[int] = utc_offsets(times_s, settings.local_zone).tolist()
    return offsets_min


def _cell_ids(payloads: Sequence[dict[str, Any]], settings: ServeSettings) -> list[str | None]:
    """H3 cells of the coordinates, for events posted without a place."""
    if settings.cell_resolution is None:
        return [None] * len(payloads)
    event_lat, event_lon = (
        np.array([payload.get(column) for payload in payloads], float) for column in (c.LAT, c.LON)
    )
    event_cells = h3_cells(lat=event_lat, lon=event_lon, resolution=settings.cell_resolution)
    cell_ids: list[str | None] = cell_names(event_cells).to_pylist()
    return cell_ids
