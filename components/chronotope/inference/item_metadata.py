"""Metadata of items and places: coordinates, categories and likeness by content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.artifact.bundle import Vocabulary
from chronotope.content.item_vectors import FurtherVectors
from chronotope.content.labels.used_labels import with_category_confidence
from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Float32, Float64, Int32, Int64
from chronotope.contracts.ids import IdMap
from chronotope.contracts.schemas import ITEMS
from chronotope.inference.history import items_are_places
from chronotope.inference.item_likeness import ItemLikeness, read_item_likeness
from chronotope.inference.new_item_content import ItemRow
from chronotope.lake import Lake
from chronotope.lake.privacy import read_privacy
from chronotope.runtime.file_cache import ContentCache

_COLUMNS: Final = (c.ITEM_ID, c.LAT, c.LON, c.CATEGORY)


@dataclass(frozen=True, slots=True)
class ItemMetadata:
    """Coordinates and categories by index; index 0 is unknown.

    Attributes:
        lat, lon: Degrees of each item, shape (n_items,); NaN if unknown.
        place_lat, place_lon: Degrees of each place, shape (n_places,); NaN if unknown.
        categories: Ids of the categories.
        category_idx: Category of each item, shape (n_items,).
        likeness: Likeness of the items by content; None if they have none.
        category_confidence: Confidence of each predicted category, shape (n_items,); NaN where
            the category is given or missing. None if none is predicted.
        min_group_users: Users that an item needs to be shown to others.
        is_rare: Whether an item was had by somebody, but by fewer users, shape (n_items,); None
            if every item may be shown.
    """

    lat: Float64
    lon: Float64
    place_lat: Float64
    place_lon: Float64
    categories: IdMap
    category_idx: Int32
    likeness: ItemLikeness | None = None
    category_confidence: Float32 | None = None
    min_group_users: int = 1
    is_rare: npt.NDArray[np.bool_] | None = None

    def confidences(self, item_idx: Int64) -> list[float | None]:
        """Confidence of the predicted categories of some items; None for one that is given.

        Args:
            item_idx: Indices of the items, shape (k,).
        """
        if self.category_confidence is None:
            return [None] * len(item_idx)
        return [rounded_confidence(value) for value in self.category_confidence[item_idx].tolist()]


def read_item_metadata(
    lake: Lake,
    vocabulary: Vocabulary,
    cache: ContentCache | None = None,
    new_rows: Mapping[str, ItemRow] | None = None,
    new_vectors: Sequence[FurtherVectors] = (),
) -> ItemMetadata:
    """Metadata of the items from the catalogue, of the places from the events.

    A missing category is the predicted one, where the lake has one that is certain enough.

    Args:
        lake: The dataset's lake.
        vocabulary: Ids of the model's items and places.
        cache: Where the likeness of the items is kept; None computes it.
        new_rows: Values of items by column, by id, which take the place of the catalogue's.
        new_vectors: Their vectors.
    """
    likeness = read_item_likeness(lake, vocabulary, cache, new_vectors)
    lat_deg, lon_deg = np.full((2, vocabulary.items.size), np.nan)
    category_idx, categories = np.zeros(vocabulary.items.size, np.int32), IdMap.of(_no_text())
    confidence: Float32 | None = None
    item_catalog = _catalogue(lake, new_rows or {})
    if item_catalog is not None:
        item_idx = vocabulary.items.index(item_catalog[c.ITEM_ID])
        item_categories = pc.coalesce(item_catalog[c.CATEGORY], item_catalog[c.PREDICTED_CATEGORY])
        categories = IdMap.of(item_categories)
        category_idx[item_idx] = categories.index(item_categories)
        lat_deg[item_idx], lon_deg[item_idx] = (
            item_catalog[c.LAT].to_numpy(),
            item_catalog[c.LON].to_numpy(),
        )
        confidence = _category_confidence(
            item_catalog[c.CATEGORY_CONFIDENCE], item_idx, len(lat_deg)
        )
        lat_deg[0] = lon_deg[0] = np.nan
        category_idx[0] = 0
    if items_are_places(vocabulary):
        place_lat, place_lon = lat_deg, lon_deg
    else:
        place_lat, place_lon = _place_coordinates(lake, vocabulary.places)
    min_users = read_privacy(lake).settings.min_group_users
    return ItemMetadata(
        lat_deg,
        lon_deg,
        place_lat,
        place_lon,
        categories,
        category_idx,
        likeness,
        confidence,
        min_users,
        _rare_items(lake, vocabulary.items, min_users) if min_users > 1 else None,
    )


def _rare_items(lake: Lake, items: IdMap, min_users: int) -> npt.NDArray[np.bool_]:
    """Whether each item was had by at least one user, but by too few, shape (n_items,)."""
    events = lake.read("events", columns=[c.USER_ID, c.ITEM_ID])
    item_users = events.group_by([c.ITEM_ID, c.USER_ID]).aggregate([])
    n_users = np.bincount(items.index(item_users[c.ITEM_ID]), minlength=items.size)
    return np.asarray((n_users > 0) & (n_users < min_users))


def rounded_confidence(confidence: float | None) -> float | None:
    """Confidence in four decimals; None for NaN.

    Args:
        confidence: The stored number, which has 24 bits.
    """
    return None if confidence is None or isnan(confidence) else round(confidence, 4)


def _category_confidence(
    stored_confidence: pa.ChunkedArray, item_idx: Int32, n_items: int
) -> Float32 | None:
    """Confidence by item, shape (n_items,), NaN where there is none; None if there is not any."""
    if stored_confidence.null_count == len(stored_confidence):
        return None
    confidence = np.full(n_items, np.nan, np.float32)
    confidence[item_idx] = stored_confidence.to_numpy()
    confidence[0] = np.nan
    return confidence


def _catalogue(lake: Lake, new_rows: Mapping[str, ItemRow]) -> pa.Table | None:
    """Coordinates and categories of the lake's items and of new ones; None without any."""
    tables = []
    if lake.exists("items"):
        known_rows = lake.read("items", columns=list(_COLUMNS))
        if new_rows:
            is_new = pc.is_in(
                known_rows[c.ITEM_ID], value_set=pa.array(list(new_rows), pa.string())
            )
            known_rows = known_rows.filter(pc.invert(is_new))
        tables.append(known_rows)
    if new_rows:
        rows = [{name: row.get(name) for name in _COLUMNS} for row in new_rows.values()]
        schema = pa.schema([ITEMS.field(name) for name in _COLUMNS])
        tables.append(pa.Table.from_pylist(rows, schema))
    if not tables:
        return None
    return with_category_confidence(pa.concat_tables(tables, promote_options="permissive"), lake)


def _place_coordinates(lake: Lake, places: IdMap) -> tuple[Float64, Float64]:
    lat_deg, lon_deg = np.full((2, places.size), np.nan)
    is_located = pc.field(c.LAT).is_valid() & pc.field(c.PLACE_ID).is_valid()
    columns = [c.PLACE_ID, c.LAT, c.LON]
    located_events = lake.dataset("events").to_table(columns=columns, filter=is_located)
    place_means = located_events.group_by(c.PLACE_ID).aggregate([(c.LAT, "mean"), (c.LON, "mean")])
    place_idx = places.index(place_means[c.PLACE_ID])
    lat_deg[place_idx], lon_deg[place_idx] = (
        place_means[f"{c.LAT}_mean"].to_numpy(),
        place_means[f"{c.LON}_mean"].to_numpy(),
    )
    lat_deg[0] = lon_deg[0] = np.nan
    return lat_deg, lon_deg


def _no_text() -> pa.Array:
    return pa.array([], pa.string())
