"""What the lake knew at a moment: a user's history, recent crowds, and where items are."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.artifact.bundle import Vocabulary
from chronotope.contracts import columns as c
from chronotope.contracts.eventlog import Float64, Int32, Int64
from chronotope.contracts.ids import IdMap
from chronotope.contracts.queries import Queries
from chronotope.lake import Lake

RECENT = timedelta(days=28)
"""Stretch of the crowd's log from which reasons are told."""

_HISTORY = (c.ITEM_ID, c.PLACE_ID, c.OCCURRED_AT, c.UTC_OFFSET_MIN)


def read_history(lake: Lake, user_id: str, at: datetime) -> pa.Table:
    """A user's events before a moment, oldest first, in the order training saw them."""
    mine = (pc.field(c.USER_ID) == user_id) & (pc.field(c.OCCURRED_AT) < pa.scalar(at))
    rows = lake.dataset("events").to_table(columns=[*_HISTORY, c.EVENT_ID], filter=mine)
    return rows.sort_by([(c.OCCURRED_AT, "ascending"), (c.EVENT_ID, "ascending")])


def as_queries(history: pa.Table, user_id: str, at: datetime, vocabulary: Vocabulary) -> Queries:
    """One question at a moment whose time is told, with the whole history."""
    seconds = occurred_s(history)
    offsets = history[c.UTC_OFFSET_MIN].fill_null(0).to_numpy().astype(np.int32)
    told = at.utcoffset() or timedelta()
    offset = int(offsets[-1]) if len(offsets) else round(told.total_seconds() / 60)

    def row(values: Int32) -> Int32:  # at least one column of padding
        return np.pad(values, (max(0, 1 - len(values)), 0))[None]

    return Queries(
        user_idx=vocabulary.users.index([user_id]),
        item_idx=row(vocabulary.items.index(history[c.ITEM_ID])),
        occurred_s=np.pad(seconds, (max(0, 1 - len(seconds)), 0))[None],
        utc_offset_min=row(offsets),
        place_idx=row(vocabulary.places.index(history[c.PLACE_ID])),
        request_s=np.array([int(at.timestamp())], np.int64),
        request_offset_min=np.array([offset], np.int32),
        request_place_idx=np.zeros(1, np.int32),
        time_given=np.ones(1, np.bool_),
    )


def occurred_s(history: pa.Table) -> Int64:
    """Whole UTC seconds of the events, shape (n,)."""
    micros = history[c.OCCURRED_AT].cast(pa.int64()).to_numpy()
    return np.asarray(micros // 1_000_000, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Crowd:
    """What everybody did of late.

    Attributes:
        counts: Events of each item, shape (n_items,).
        follows: How often each item came right after the one asked about, shape (n_items,).
    """

    counts: Int64
    follows: Int64


def read_crowd(lake: Lake, until: datetime, items: IdMap, last_idx: int) -> Crowd:
    """Counts over the last ``RECENT`` before a moment.

    Args:
        lake: The dataset's lake.
        until: Nothing at or after it is read.
        items: Ids of the items.
        last_idx: Item whose followers are counted; 0 counts none.
    """
    when = pc.field(c.OCCURRED_AT)
    recent = (when < pa.scalar(until)) & (when >= pa.scalar(until - RECENT))
    names = [c.USER_ID, c.ITEM_ID, c.OCCURRED_AT]
    rows = lake.dataset("events").to_table(columns=names, filter=recent)
    rows = rows.sort_by([(c.USER_ID, "ascending"), (c.OCCURRED_AT, "ascending")])
    item = items.index(rows[c.ITEM_ID])
    user = IdMap.of(rows[c.USER_ID]).index(rows[c.USER_ID])
    is_next = (user[1:] == user[:-1]) & (item[:-1] == last_idx) & (last_idx > 0)
    return Crowd(
        np.bincount(item, minlength=items.size),
        np.bincount(item[1:][is_next], minlength=items.size),
    )


def item_coordinates(lake: Lake, items: IdMap) -> tuple[Float64, Float64]:
    """Degrees of each item by the catalogue, shape (n_items,) each; NaN if unknown."""
    lat, lon = np.full((2, items.size), np.nan)
    if lake.exists("items"):
        rows = lake.read("items", columns=[c.ITEM_ID, c.LAT, c.LON])
        at = items.index(rows[c.ITEM_ID])
        for known, name in ((lat, c.LAT), (lon, c.LON)):
            known[at] = rows[name].to_numpy()
    lat[0] = lon[0] = np.nan
    return lat, lon
