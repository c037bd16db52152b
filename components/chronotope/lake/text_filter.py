"""Filter of a table's rows by a text."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc


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
