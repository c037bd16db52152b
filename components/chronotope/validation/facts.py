"""The numbers a suite looks at: cheap columns derived from rows, one row a row."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c


def facts_of(rows: pa.Table, known_items: pa.Array | None = None) -> pd.DataFrame:
    """Arrow-backed frame of what the expectations name.

    Besides ``lat``, ``lon``, ``utc_offset_min`` and the ids: ``<id>_length``
    (characters), ``occurred_s`` (UTC seconds), ``swapped`` (1 where the latitude is
    impossible but would be a longitude) and ``item_known``.
    """
    facts = {"row": pa.array(np.arange(len(rows)))}
    for name in (c.EVENT_ID, c.USER_ID, c.ITEM_ID, c.EVENT_TYPE):
        if name in rows.column_names:
            facts[f"{name}_length"] = pc.fill_null(pc.utf8_length(rows.column(name)), 0)
            facts[name] = rows.column(name)
    for name in (c.LAT, c.LON, c.UTC_OFFSET_MIN):
        absent = pa.nulls(len(rows), pa.float64())
        facts[name] = rows.column(name) if name in rows.column_names else absent
    if c.OCCURRED_AT in rows.column_names:
        facts["occurred_s"] = pc.divide(rows.column(c.OCCURRED_AT).cast(pa.int64()), 1_000_000)
    facts["swapped"] = _swapped(facts[c.LAT], facts[c.LON])
    if c.ITEM_ID in rows.column_names and known_items is not None:
        facts["item_known"] = pc.is_in(rows.column(c.ITEM_ID), value_set=known_items).cast(
            pa.int8()
        )
    else:
        facts["item_known"] = pa.nulls(len(rows), pa.int8())
    return pa.table(facts).to_pandas(types_mapper=pd.ArrowDtype)


def _swapped(lat: pa.ChunkedArray, lon: pa.ChunkedArray) -> pa.ChunkedArray:
    impossible = pc.and_(
        pc.greater(pc.abs(lat), 90),
        pc.and_(pc.less_equal(pc.abs(lat), 180), pc.less_equal(pc.abs(lon), 90)),
    )
    return pc.fill_null(impossible, False).cast(pa.int8())
