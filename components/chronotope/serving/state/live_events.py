"""Posted events as ingestion will make them: what was left out is filled by the dataset."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from chronotope.contracts import columns as c
from chronotope.serving.settings import ServeSettings
from chronotope.spacetime.cells import cell_names, h3_cells
from chronotope.spacetime.clock import utc_offsets


class LiveEvent(NamedTuple):
    """An event of the interaction log.

    Attributes:
        occurred_us: UTC microseconds.
        item_id: As posted.
        event_type: As posted, or the dataset's own.
        place_id: As posted, or the cell of the coordinates if the dataset has cells.
        utc_offset_min: Minutes, as posted or by the zone of the users; 0 if unknown.
    """

    occurred_us: int
    item_id: str
    event_type: str
    place_id: str | None
    utc_offset_min: int


def parse_live_events(
    payloads: Sequence[dict[str, Any]], settings: ServeSettings
) -> list[LiveEvent]:
    """Read what was posted.

    Args:
        payloads: Events of the interaction log.
        settings: What the dataset fills in: type, zone, cells.
    """
    moments = [to_microseconds(datetime.fromisoformat(told[c.OCCURRED_AT])) for told in payloads]
    offsets = _offsets(moments, settings)
    cells = _cells(payloads, settings)
    return [
        LiveEvent(
            moment,
            told[c.ITEM_ID],
            told.get(c.EVENT_TYPE) or settings.event_type,
            told.get(c.PLACE_ID) or cell,
            offset if told.get(c.UTC_OFFSET_MIN) is None else told[c.UTC_OFFSET_MIN],
        )
        for moment, told, offset, cell in zip(moments, payloads, offsets, cells, strict=True)
    ]


def to_microseconds(moment: datetime) -> int:
    """UTC microseconds since 1970."""
    return round(moment.timestamp() * 1_000_000)


def _offsets(moments: list[int], settings: ServeSettings) -> list[int]:
    """What the users' clocks show, where nobody told."""
    if settings.local_zone is None:
        return [0] * len(moments)
    seconds = np.array(moments, np.int64) // 1_000_000
    offsets: list[int] = utc_offsets(seconds, settings.local_zone).tolist()
    return offsets


def _cells(payloads: Sequence[dict[str, Any]], settings: ServeSettings) -> list[str | None]:
    """Where it was, where nobody named a place."""
    if settings.cell_resolution is None:
        return [None] * len(payloads)
    lat, lon = (np.array([told.get(of) for told in payloads], float) for of in (c.LAT, c.LON))
    cells = h3_cells(lat=lat, lon=lon, resolution=settings.cell_resolution)
    names: list[str | None] = cell_names(cells).to_pylist()
    return names
