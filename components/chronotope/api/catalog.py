"""Catalogue of items from a user's data frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from chronotope.api import html
from chronotope.api.logs.frames import Frame, read_columns
from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError, SchemaError
from chronotope.contracts.schemas import ITEMS
from chronotope.datasets.content_spec import ItemTableSpec
from chronotope.datasets.parsing import as_numbers
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.values.id_texts import id_texts, utf8_texts

_SHOWN_ROWS = 5


@dataclass(frozen=True, slots=True)
class ItemCatalog:
    """Items with category, title, text and coordinates; ``ct.Catalog``.

    Attributes:
        rows: The columns of ``contracts.schemas.ITEMS``, then the attributes as text.
        table_spec: Columns, and what is encoded of them; None for rows of a dataset's own YAML.
    """

    rows: pa.Table
    table_spec: ItemTableSpec | None = None

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
        content: Sequence[str] = (),
        encoder: str = "tfidf",
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
            content: What of it is encoded, so that items without an event are ranked by what they
                are: ``title``, ``text``, ``category`` or names of attributes.
            encoder: ``tfidf``, fitted on the catalogue; ``minilm`` or ``e5``, pretrained; or the
                path of an ONNX file with a tokenizer.json beside it.

        Raises:
            ConfigError: ``content`` names what the catalogue does not have.
            SchemaError: A column is missing, occurs twice, or mixes types.
            NotEnoughData: The frame has no rows.
        """
        named_columns = {
            c.ITEM_ID: item,
            c.CATEGORY: category,
            c.TITLE: title,
            c.TEXT: text,
            c.LAT: lat,
            c.LON: lon,
        } | dict(attributes or {})
        column_map = {
            column_name: column
            for column_name, column in named_columns.items()
            if column is not None
        }
        raw_rows = read_columns(frame, column_map, "catalogue")
        item_ids = id_texts(raw_rows[c.ITEM_ID].combine_chunks())
        if item_ids.texts.null_count:
            refusal_reasons = ", ".join(f"{item} {reason}" for reason in item_ids.refusals)
            raise SchemaError(
                f"Column {item!r} of the catalogue has rows without an id",
                received=f"{item_ids.texts.null_count:,} rows: {refusal_reasons}",
                way_out=f"Drop them, as with df.dropna(subset=[{item!r}])",
            )
        item_rows = pa.table(_typed_columns(raw_rows, item_ids.texts, attributes or {}))
        return cls(item_rows, _content_spec(column_map, content, encoder) if content else None)

    def described(self, dataset_spec: DatasetSpec) -> DatasetSpec:
        """The dataset with the content of these items.

        Args:
            dataset_spec: The dataset.
        """
        if self.table_spec is None:
            return dataset_spec
        return dataset_spec.model_copy(update={"items": self.table_spec})

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def __repr__(self) -> str:
        """Number of items and categories."""
        n_categories = len(self.rows[c.CATEGORY].unique().drop_null())
        return f"Catalog({len(self):,} items, {n_categories:,} categories)"

    def _repr_html_(self) -> str:
        shown_columns = [
            column_name
            for column_name in self.rows.column_names
            if self.rows[column_name].null_count < len(self.rows)
        ]
        shown_rows = self.rows.select(shown_columns).slice(0, _SHOWN_ROWS).to_pylist()
        shown_cells = [
            [_shown(item_row[column_name]) for column_name in shown_columns]
            for item_row in shown_rows
        ]
        return html.card(
            repr(self), html.table(shown_columns, shown_cells, n_text=len(shown_columns))
        )


def _content_spec(
    column_map: Mapping[str, str], content: Sequence[str], encoder: str
) -> ItemTableSpec:
    """Specification of a catalogue whose texts are encoded."""
    unknown_names = [name for name in content if name not in column_map or name == c.ITEM_ID]
    if isinstance(content, str) or unknown_names:
        raise ConfigError(
            "content lists parts of the catalogue that are texts",
            received=content if isinstance(content, str) else ", ".join(unknown_names),
            way_out=f"Name some of {', '.join(list(column_map)[1:]) or 'title and text'}, which "
            "the call passes",
        )
    contract_names = [name for name in column_map if name in ITEMS.names]
    attribute_names = [name for name in column_map if name not in ITEMS.names]
    return ItemTableSpec.model_validate(
        {
            "format": "parquet",
            "path": "items.parquet",
            "columns": {name: name for name in contract_names},
            "attributes": {name: name for name in attribute_names},
            "content": {"text": {"columns": list(content), "encoder": encoder}},
        }
    )


def _shown(cell_value: object) -> str:
    return "" if cell_value is None else str(cell_value)[:60]


def _typed_columns(
    raw_rows: pa.Table, item_ids: pa.Array, attributes: Mapping[str, str]
) -> dict[str, pa.Array]:
    """Columns of the contract, nulls where the frame has none, then the attributes."""
    column_map = {}
    for item_field in [*ITEMS, *(pa.field(column_name, pa.string()) for column_name in attributes)]:
        if item_field.name == c.ITEM_ID:
            column_map[item_field.name] = item_ids
        elif item_field.name not in raw_rows.column_names:
            column_map[item_field.name] = pa.nulls(len(item_ids), item_field.type)
        else:
            column_values = raw_rows[item_field.name].combine_chunks()
            is_text = pa.types.is_string(item_field.type)
            column_map[item_field.name] = (
                _texts(column_values) if is_text else as_numbers(column_values, ".", None)
            )
    return column_map


def _texts(column_values: pa.Array) -> pa.Array:
    """Texts of a column; a categorical one is decoded first."""
    is_encoded = pa.types.is_dictionary(column_values.type)
    return utf8_texts(column_values.dictionary_decode() if is_encoded else column_values)
