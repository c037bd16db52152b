"""Filters of a table's rows by texts."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.lake.table_schemas import ROW


def text_equals(column_name: str, text: str) -> pc.Expression:
    """Expression that a column holds a text, for ``Lake.dataset``.

    A merge stores texts as views, and Arrow cannot compare the statistics of such a file with a
    text (``no kernel matching input types (string, string_view)``). A cast column is compared
    by its values alone.

    Args:
        column_name: Column of texts.
        text: The text.
    """
    return pc.field(column_name).cast(pa.string()) == text


def text_in(column_name: str, texts: Sequence[str]) -> pc.Expression:
    """Expression that a column holds one of some texts, as ``text_equals``.

    Args:
        column_name: Column of texts.
        texts: The texts.
    """
    return pc.field(column_name).cast(pa.string()).isin(pa.array(list(texts), pa.string()))


def refused_rows_predicate(run_id: str, rows: Sequence[int] | None) -> str:
    """Predicate of Delta for the quarantined rows of a run.

    Args:
        run_id: Run that refused them.
        rows: Their positions in the delivery; None for all.

    Example:
        >>> refused_rows_predicate("it's", [1, 2])
        "run_id = 'it''s' AND row IN (1, 2)"
    """
    quoted_id = run_id.replace("'", "''")
    row_filter = "" if rows is None else f" AND {ROW} IN ({', '.join(map(str, rows))})"
    return f"{c.RUN_ID} = '{quoted_id}'{row_filter}"
