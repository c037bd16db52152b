"""Rows of a graph's tables for items without events, computed from the rows of the others.

An item that has just come is what a training would make of an item without events: no counts,
hours and rates of the items with the most similar content, their popularity as its expectation,
and the embedding of similar items.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.artifact.catalogue_tables import Array
from chronotope.content.similar_items import SimilarItems, similar_items
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.event_log import Float32, Float64, Int64
from chronotope.contracts.item_content import ContentAxes, ItemContent
from chronotope.features.activity_counts import ACTIVITY_NAMES

GRID_KM: Final = 1.0
"""Side of the squares of a neighbourhood, as of the networks' item tables."""

_OF_PLACES: Final = ("place_popularity", "user_head.place_factors")
"""Tables of places, which grow with the items where the items are the places."""

_NO_EVENTS: Final = (
    "popularity",
    "popularity_week",
    "next_item",
    "next_item_log",
    "neighbour",
    "neighbour_weight",
    "affinity_item",
    "affinity_weight",
    *_OF_PLACES,
)
"""Tables of counts and of pairs, which an item without events has none of."""

_CATEGORY, _CELL = "item_tables.category", "item_tables.cell"
_CELL_ROWS: Final = "item_tables.cell_rows"
_EAST, _NORTH, _LOCATED = (
    f"item_tables.{table_name}" for table_name in ("east_km", "north_km", "located")
)
_VECTORS: Final = "content_head.vectors"


@dataclass(frozen=True, slots=True)
class NewItems:
    """What is known of n new items.

    Attributes:
        item_ids: Their ids, in the order of the rows.
        category_idx: The model's index of the category; 0 if it has none or a new one, shape (n,).
        east_km, north_km: Coordinates in the model's plane; NaN if unknown, shape (n,).
        content: Rows of the model's content table, shape (n, A); A is 0 without content.
        titles: Titles; "" if unknown.
    """

    item_ids: tuple[str, ...]
    category_idx: Int64
    east_km: Float64
    north_km: Float64
    content: Float32
    titles: tuple[str, ...]

    def __len__(self) -> int:
        """Number of items."""
        return len(self.item_ids)


@dataclass(frozen=True, slots=True)
class _Known:
    """Tables of the known items, and which of these are similar to the new ones."""

    tables: Mapping[str, Array]
    new_items: NewItems
    similar: SimilarItems

    def similar_means(self, item_table: Array, default_rows: Float32) -> Float32:
        """Mean of the similar items' rows; the default of an item without similar ones."""
        filled_rows = default_rows.copy()
        if len(self.similar.item_idx):
            filled_rows[self.similar.item_idx] = self.similar.rows(item_table.astype(np.float32))
        return filled_rows


def cold_rows(
    tables: Mapping[str, Array], new_items: NewItems, axes: ContentAxes | None
) -> dict[str, Array]:
    """Rows of new items for each table, the growing axis first.

    Args:
        tables: Tables of the known items by name, the growing axis first.
        new_items: The items.
        axes: Axes of the content table; None for a model without content.

    Raises:
        ArtifactError: A table has no rule for new items.
    """
    known_items = _Known(tables, new_items, _similar_known_items(tables, new_items, axes))
    item_cells, n_new_cells = _cells(tables, new_items)
    filled_rows: dict[str, Array] = {}
    for table_name, item_table in tables.items():
        if table_name == _CELL:
            filled_rows[table_name] = item_cells
        elif table_name == _CELL_ROWS:
            filled_rows[table_name] = np.zeros(
                (n_new_cells, *item_table.shape[1:]), item_table.dtype
            )
        else:
            filled_rows[table_name] = _rows_of(table_name, item_table, known_items).astype(
                item_table.dtype
            )
    return filled_rows


def known_tables() -> set[str]:
    """Names of the tables that have a rule for new items."""
    return {*_NO_EVENTS, *_RULES, _CELL, _CELL_ROWS}


def _rows_of(table_name: str, item_table: Array, known_items: _Known) -> Array:
    """Rows of one table by its rule."""
    if table_name in _OF_PLACES and len(item_table) != len(known_items.tables[_CATEGORY]):
        return item_table[:0]
    if table_name in _NO_EVENTS:
        return np.zeros((len(known_items.new_items), *item_table.shape[1:]), item_table.dtype)
    row_rule = _RULES.get(
        "item_embedding.weight" if table_name.endswith("item_embedding.weight") else table_name
    )
    if row_rule is None:
        raise ArtifactError(
            "A table of this bundle has no rule for new items",
            received=table_name,
            way_out="Train again with the items",
        )
    return row_rule(item_table, known_items)


def _category(_: Array, known_items: _Known) -> Array:
    return known_items.new_items.category_idx


def _east(_: Array, known_items: _Known) -> Array:
    return np.nan_to_num(known_items.new_items.east_km)


def _north(_: Array, known_items: _Known) -> Array:
    return np.nan_to_num(known_items.new_items.north_km)


def _located(_: Array, known_items: _Known) -> Array:
    return _is_located(known_items.new_items).astype(np.float32)


def _content(_: Array, known_items: _Known) -> Array:
    return known_items.new_items.content


def _expected_popularity(_: Array, known_items: _Known) -> Array:
    item_popularity = known_items.tables["popularity"]
    return known_items.similar_means(
        item_popularity, np.zeros(len(known_items.new_items), np.float32)
    )


def _cold_share(item_table: Array, known_items: _Known) -> Array:
    return np.asarray(_expected_popularity(item_table, known_items).astype(np.float32) > 0)


def _hours(item_table: Array, known_items: _Known) -> Array:
    """Hours of similar items; otherwise none in particular.

    In an hour without any event all items have one value, which is that of a new one, too.
    """
    known_rows = item_table[1:].astype(np.float32)
    is_constant = (known_rows == known_rows[:1]).all(axis=0)
    default_row = np.where(is_constant, known_rows[0], np.float32(0.0))
    return known_items.similar_means(
        item_table, np.tile(default_row, (len(known_items.new_items), 1))
    )


def _stickiness(item_table: Array, known_items: _Known) -> Array:
    return known_items.similar_means(item_table, _category_means(item_table, known_items))


def _embedding(item_table: Array, known_items: _Known) -> Array:
    """As of a network that is transferred to a grown catalogue, if nothing is similar."""
    mean_row = item_table[1:].astype(np.float32).mean(axis=0)
    return known_items.similar_means(item_table, np.tile(mean_row, (len(known_items.new_items), 1)))


def _activity(item_table: Array, known_items: _Known) -> Array:
    """Live counts: none of its own, those of its category."""
    filled_rows = np.zeros((len(known_items.new_items), item_table.shape[1]), np.float32)
    activity_column = ACTIVITY_NAMES.index("category_events")
    filled_rows[:, activity_column] = _category_means(item_table[:, activity_column], known_items)
    return filled_rows


def _context_lift(item_table: Array, known_items: _Known) -> Array:
    """Lift of the item context of an item without events, as of the unknown item."""
    return np.repeat(item_table[:1], len(known_items.new_items), axis=0)


_RULES: Final[dict[str, Callable[[Array, _Known], Array]]] = {
    "by_hour": _hours,
    "stickiness": _stickiness,
    "activity": _activity,
    "content_popularity": _expected_popularity,
    "cold_share": _cold_share,
    "context_lift": _context_lift,
    "item_embedding.weight": _embedding,
    "user_head.start": _stickiness,  # that of similar items, else of the category
    "user_head.item_factors": _embedding,
    _CATEGORY: _category,
    _EAST: _east,
    _NORTH: _north,
    _LOCATED: _located,
    _VECTORS: _content,
}


def _category_means(values: Array, known_items: _Known) -> Float32:
    """Mean of a column over the known items of each new item's category, shape (n,)."""
    category_idx = known_items.tables[_CATEGORY][1:].astype(np.int64)
    wanted_category = known_items.new_items.category_idx
    n_categories = 1 + int(max(category_idx.max(initial=0), wanted_category.max(initial=0)))
    n_items = np.bincount(category_idx, minlength=n_categories)
    value_sums = np.bincount(category_idx, values[1:].astype(np.float64), minlength=n_categories)
    category_means: Float32 = (value_sums / np.maximum(n_items, 1))[wanted_category].astype(
        np.float32
    )
    return category_means


def _similar_known_items(
    tables: Mapping[str, Array], new_items: NewItems, axes: ContentAxes | None
) -> SimilarItems:
    """Items with events that are most similar to each new item; ``item_idx`` counts the new."""
    no_similar = SimilarItems(
        np.empty(0, np.int64), np.empty((0, 0), np.int64), np.empty((0, 0), np.float32)
    )
    if axes is None or _VECTORS not in tables:
        return no_similar
    is_known = (tables["popularity"] > 0) & (tables["cold_share"] == 0)  # type: ignore[operator]
    is_known[0] = False
    known_idx = np.flatnonzero(is_known)
    no_item = np.zeros((1, axes.width), np.float32)
    known_vectors = tables[_VECTORS][known_idx].astype(np.float32)
    row_vectors = np.concatenate([no_item, known_vectors, new_items.content])
    is_warm: npt.NDArray[np.bool_] = np.arange(len(row_vectors)) <= len(known_idx)
    similar_known = similar_items(ItemContent(axes, row_vectors), is_warm)
    if not len(similar_known.item_idx):
        return no_similar
    first_new = 1 + len(known_idx)
    return SimilarItems(
        similar_known.item_idx - first_new,
        known_idx[similar_known.similar_idx - 1],
        similar_known.weights,
    )


def _is_located(new_items: NewItems) -> npt.NDArray[np.bool_]:
    return np.isfinite(new_items.east_km) & np.isfinite(new_items.north_km)


def _cells(tables: Mapping[str, Array], new_items: NewItems) -> tuple[Int64, int]:
    """Neighbourhood of each new item, shape (n,), and the number of neighbourhoods that are new."""
    item_cells = np.zeros(len(new_items), np.int64)
    if _CELL not in tables or _EAST not in tables:
        return item_cells, 0
    known_cells = tables[_CELL].astype(np.int64)
    is_located = np.flatnonzero(known_cells)
    known_squares = _squares(tables[_EAST][is_located], tables[_NORTH][is_located])
    cell_of_square = dict(zip(known_squares, known_cells[is_located].tolist(), strict=True))
    n_cells = 1 + int(known_cells.max(initial=0))
    n_before = n_cells
    for item_position, grid_square in enumerate(_squares(new_items.east_km, new_items.north_km)):
        if np.isfinite(grid_square).all():
            n_cells += grid_square not in cell_of_square
            item_cells[item_position] = cell_of_square.setdefault(grid_square, n_cells - 1)
    return item_cells, n_cells - n_before


def _squares(east_km: Array, north_km: Array) -> list[tuple[float, float]]:
    grid_squares = np.floor(np.stack([east_km, north_km], axis=1).astype(np.float64) / GRID_KM)
    return [(east, north) for east, north in grid_squares.tolist()]
