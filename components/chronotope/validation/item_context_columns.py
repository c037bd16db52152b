"""Numeric columns derived from rows of the item context, to which expectations apply."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c


def derive_item_context_columns(rows: pa.Table) -> pa.Table:
    """Compute the numeric columns of the suite of the item context.

    Columns: ``row`` (position), ``item_id_length`` (characters), ``valid_from_s`` (UTC seconds,
    null if it cannot be read), ``duration_s`` (seconds until the end, null without one) and
    ``n_infinite`` (values that are no finite numbers; a null is the default).

    Args:
        rows: Columns of ``ITEM_CONTEXT``, then those of the values.

    Returns:
        One row for each source row.
    """
    start_us = rows[c.VALID_FROM].cast(pa.int64())
    end_us = rows[c.VALID_UNTIL].cast(pa.int64())
    n_infinite = np.zeros(len(rows), np.int64)
    for field in rows.schema:
        if pa.types.is_floating(field.type):
            is_finite = pc.fill_null(pc.is_finite(rows[field.name]), True)
            n_infinite += ~np.asarray(is_finite.to_numpy(), np.bool_)
    return pa.table(
        {
            "row": np.arange(len(rows)),
            "item_id_length": pc.fill_null(pc.utf8_length(rows[c.ITEM_ID]), 0).cast(pa.int64()),
            "valid_from_s": pc.divide(start_us, 1_000_000),
            "duration_s": pc.divide(pc.subtract(end_us, start_us), 1_000_000),
            "n_infinite": n_infinite,
        }
    )
