"""The numbers a suite looks at: cheap columns derived from rows, one row a row."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.lake.row_conformance import first_occurrence_mask


def derive_columns(rows: pa.Table, known_items: pa.Array | None = None) -> pa.Table:
    """Table of numbers the expectations name; texts stay in Arrow, which is faster.

    ``lat``, ``lon`` and ``utc_offset_min`` (NaN as infinity, so it is out of range),
    ``<id>_length`` (characters), ``<id>_repeated`` (1 where the key occurred before),
    ``occurred_s`` (UTC seconds), ``swapped`` (1 where the latitude is
    impossible but would be a longitude) and ``item_known``.
    """
    facts = {"row": pa.array(np.arange(len(rows)))}
    for name in (c.EVENT_ID, c.USER_ID, c.ITEM_ID, c.EVENT_TYPE):
        if name in rows.column_names:
            facts[f"{name}_length"] = pc.fill_null(pc.utf8_length(rows.column(name)), 0)
    for name in (c.EVENT_ID, *(() if c.EVENT_ID in rows.column_names else (c.USER_ID, c.ITEM_ID))):
        if name in rows.column_names:
            facts[f"{name}_repeated"] = _repeated(rows.column(name))
    for name in (c.LAT, c.LON, c.UTC_OFFSET_MIN):
        absent = pa.nulls(len(rows), pa.float64())
        number = rows.column(name).cast(pa.float64()) if name in rows.column_names else absent
        facts[name] = pc.if_else(pc.is_nan(number), float("inf"), number)
    if c.OCCURRED_AT in rows.column_names:
        facts["occurred_s"] = pc.divide(rows.column(c.OCCURRED_AT).cast(pa.int64()), 1_000_000)
    facts["swapped"] = _swapped(facts[c.LAT], facts[c.LON])
    if c.ITEM_ID in rows.column_names and known_items is not None:
        facts["item_known"] = pc.is_in(rows.column(c.ITEM_ID), value_set=known_items).cast(
            pa.int8()
        )
    else:
        facts["item_known"] = pa.nulls(len(rows), pa.int8())
    # Great Expectations compares int64 and float64 at once, narrower types value by value.
    wide = {
        name: column.cast(pa.int64()) if pa.types.is_integer(column.type) else column
        for name, column in facts.items()
    }
    return pa.table(wide)


def column_extremes(facts: pa.Table) -> pa.Table:
    """Two rows, the least and the greatest value of each column; unknown ones left out.

    Whatever holds for both ends of a column holds for every value between bounds.
    """
    ends = {name: pc.min_max(facts.column(name)) for name in facts.column_names}
    return pa.table(
        [
            pa.array([found["min"].as_py(), found["max"].as_py()], facts.schema.field(name).type)
            for name, found in ends.items()
        ],
        schema=facts.schema,
    )


def _repeated(ids: pa.ChunkedArray) -> pa.Array:
    first = first_occurrence_mask(ids)
    repeated = np.zeros(len(ids), dtype=np.int8) if first is None else (~first).astype(np.int8)
    return pa.array(repeated)


def _swapped(lat: pa.ChunkedArray, lon: pa.ChunkedArray) -> pa.ChunkedArray:
    impossible = pc.and_(
        pc.greater(pc.abs(lat), 90),
        pc.and_(pc.less_equal(pc.abs(lat), 180), pc.less_equal(pc.abs(lon), 90)),
    )
    return pc.fill_null(impossible, False).cast(pa.int8())
