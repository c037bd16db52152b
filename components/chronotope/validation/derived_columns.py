"""Numeric columns derived from the rows of a batch, to which expectations apply."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.lake.row_conformance import first_occurrence_mask


def derive_columns(source_rows: pa.Table, known_items: pa.Array | None = None) -> pa.Table:
    """Compute the numeric columns of a suite; text columns are not passed to pandas, for speed.

    Columns: ``row`` (position), ``lat``, ``lon`` and ``utc_offset_min`` (NaN becomes infinity
    and so is out of range), ``<id>_length`` (characters), ``<id>_is_repeated`` (1 if the id
    occurred in an earlier row), ``occurred_s`` (UTC seconds), ``swapped`` (1 if the latitude is
    impossible but would be a valid longitude) and ``item_known`` (1 if the item is in the lake).

    Args:
        source_rows: Events, items or users.
        known_items: Item ids of the lake; None leaves ``item_known`` null.

    Returns:
        One row for each source row.
    """
    derived_columns = {"row": pa.array(np.arange(len(source_rows)))}
    for column_name in (c.EVENT_ID, c.USER_ID, c.ITEM_ID, c.EVENT_TYPE):
        if column_name in source_rows.column_names:
            derived_columns[f"{column_name}_length"] = pc.fill_null(
                pc.utf8_length(source_rows.column(column_name)), 0
            )
    for column_name in (
        c.EVENT_ID,
        *(() if c.EVENT_ID in source_rows.column_names else (c.USER_ID, c.ITEM_ID)),
    ):
        if column_name in source_rows.column_names:
            derived_columns[f"{column_name}_repeated"] = _is_repeated(
                source_rows.column(column_name)
            )
    for column_name in (c.LAT, c.LON, c.UTC_OFFSET_MIN):
        null_column = pa.nulls(len(source_rows), pa.float64())
        number_column = (
            source_rows.column(column_name).cast(pa.float64())
            if column_name in source_rows.column_names
            else null_column
        )
        derived_columns[column_name] = pc.if_else(
            pc.is_nan(number_column), float("inf"), number_column
        )
    if c.OCCURRED_AT in source_rows.column_names:
        derived_columns["occurred_s"] = pc.divide(
            source_rows.column(c.OCCURRED_AT).cast(pa.int64()), 1_000_000
        )
    derived_columns["swapped"] = _is_swapped(derived_columns[c.LAT], derived_columns[c.LON])
    if c.ITEM_ID in source_rows.column_names and known_items is not None:
        derived_columns["item_known"] = pc.is_in(
            source_rows.column(c.ITEM_ID), value_set=known_items
        ).cast(pa.int8())
    else:
        derived_columns["item_known"] = pa.nulls(len(source_rows), pa.int8())
    # Great Expectations is vectorised for int64 and float64 only.
    wide_columns = {
        column_name: column.cast(pa.int64()) if pa.types.is_integer(column.type) else column
        for column_name, column in derived_columns.items()
    }
    return pa.table(wide_columns)


def column_extremes(derived_rows: pa.Table) -> pa.Table:
    """Minimum and maximum of each column, without nulls, as a table of two rows.

    A bound that holds for both holds for all values of the column.
    """
    column_ends = {
        column_name: pc.min_max(derived_rows.column(column_name))
        for column_name in derived_rows.column_names
    }
    return pa.table(
        [
            pa.array(
                [min_max["min"].as_py(), min_max["max"].as_py()],
                derived_rows.schema.field(column_name).type,
            )
            for column_name, min_max in column_ends.items()
        ],
        schema=derived_rows.schema,
    )


def _is_repeated(id_column: pa.ChunkedArray) -> pa.Array:
    is_first = first_occurrence_mask(id_column)
    is_repeated = (
        np.zeros(len(id_column), dtype=np.int8) if is_first is None else (~is_first).astype(np.int8)
    )
    return pa.array(is_repeated)


def _is_swapped(lat: pa.ChunkedArray, lon: pa.ChunkedArray) -> pa.ChunkedArray:
    is_swapped = pc.and_(
        pc.greater(pc.abs(lat), 90),
        pc.and_(pc.less_equal(pc.abs(lat), 180), pc.less_equal(pc.abs(lon), 90)),
    )
    return pc.fill_null(is_swapped, False).cast(pa.int8())
