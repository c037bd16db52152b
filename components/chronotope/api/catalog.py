"""Catalogue of items from a user's data frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from chronotope.api import html
from chronotope.api.frames import Frame, read_columns
from chronotope.contracts import columns as c
from chronotope.contracts.errors import SchemaError
from chronotope.contracts.schemas import ITEMS
from chronotope.datasets.parsing import as_numbers
from chronotope.datasets.values.id_texts import id_texts, utf8_texts

_SHOWN_ROWS = 5


@dataclass(frozen=True, slots=True)
class ItemCatalog:
    """Items with category, title, text and coordinates; ``ct.Catalog``.

    Attributes:
        rows: The columns of ``contracts.schemas.ITEMS``, then the attributes as text.
    """

    rows: pa.Table

    @classmethod
    def from_frame(
        cls,
        frame: Frame,
        *,
        item: str,
        category: str | None = None,
        title: str | None = None,
        text: str | None = None,
        lat: str | None = None,
        lon: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Self:
        """Read a catalogue; rows are checked when a log is built with it.

        Args:
            frame: Data frame of pandas, polars, Arrow or another library that exports Arrow.
            item: Column of the item's id, as in the log.
            category: Column of the category.
            title: Column of the title to show.
            text: Column of the text that describes the item.
            lat: Column of the latitude, degrees WGS 84.
            lon: Column of the longitude, degrees WGS 84.
            attributes: Further text columns: name to column.

        Raises:
            SchemaError: A column is missing, occurs twice, or mixes types.
            NotEnoughData: The frame has no rows.
        """
        mapped = {
            c.ITEM_ID: item,
            c.CATEGORY: category,
            c.TITLE: title,
            c.TEXT: text,
            c.LAT: lat,
            c.LON: lon,
        } | dict(attributes or {})
        columns = {name: column for name, column in mapped.items() if column is not None}
        raw_rows = read_columns(frame, columns, "catalogue")
        ids = id_texts(raw_rows[c.ITEM_ID].combine_chunks())
        if ids.texts.null_count:
            reasons = ", ".join(f"{item} {reason}" for reason in ids.refusals)
            raise SchemaError(
                f"Column {item!r} of the catalogue has {ids.texts.null_count:,} rows without an id",
                received=reasons,
                way_out=f"Drop them, as with df.dropna(subset=[{item!r}])",
            )
        return cls(pa.table(_typed_columns(raw_rows, ids.texts, attributes or {})))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def __repr__(self) -> str:
        """Number of items and categories."""
        n_categories = len(self.rows[c.CATEGORY].unique().drop_null())
        return f"Catalog({len(self):,} items, {n_categories:,} categories)"

    def _repr_html_(self) -> str:
        names = [
            name for name in self.rows.column_names if self.rows[name].null_count < len(self.rows)
        ]
        rows = self.rows.select(names).slice(0, _SHOWN_ROWS).to_pylist()
        cells = [[_shown(row[name]) for name in names] for row in rows]
        return html.card(repr(self), html.table(names, cells, n_text=len(names)))


def _shown(value: object) -> str:
    return "" if value is None else str(value)[:60]


def _typed_columns(
    raw_rows: pa.Table, ids: pa.Array, attributes: Mapping[str, str]
) -> dict[str, pa.Array]:
    """Columns of the contract, nulls where the frame has none, then the attributes."""
    columns = {}
    for field in [*ITEMS, *(pa.field(name, pa.string()) for name in attributes)]:
        if field.name == c.ITEM_ID:
            columns[field.name] = ids
        elif field.name not in raw_rows.column_names:
            columns[field.name] = pa.nulls(len(ids), field.type)
        else:
            values = raw_rows[field.name].combine_chunks()
            is_text = pa.types.is_string(field.type)
            columns[field.name] = _texts(values) if is_text else as_numbers(values, ".", None)
    return columns


def _texts(values: pa.Array) -> pa.Array:
    """Texts of a column; a categorical one is decoded first."""
    is_encoded = pa.types.is_dictionary(values.type)
    return utf8_texts(values.dictionary_decode() if is_encoded else values)
