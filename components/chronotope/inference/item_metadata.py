"""Metadata of items and places: coordinates and categories."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.artifact.bundle import Vocabulary
from chronotope.content.labels.used_labels import with_predicted_category
from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Float64, Int32
from chronotope.contracts.ids import IdMap
from chronotope.inference.history import items_are_places
from chronotope.lake import Lake


@dataclass(frozen=True, slots=True)
class ItemMetadata:
    """Coordinates and categories by index; index 0 is unknown.

    Attributes:
        lat, lon: Degrees of each item, shape (n_items,); NaN if unknown.
        place_lat, place_lon: Degrees of each place, shape (n_places,); NaN if unknown.
        categories: Ids of the categories.
        category_idx: Category of each item, shape (n_items,).
    """

    lat: Float64
    lon: Float64
    place_lat: Float64
    place_lon: Float64
    categories: IdMap
    category_idx: Int32


def read_item_metadata(lake: Lake, vocabulary: Vocabulary) -> ItemMetadata:
    """Metadata of the items from the catalogue, of the places from the events.

    A missing category is the predicted one, where the lake has one that is certain enough.
    """
    lat, lon = np.full((2, vocabulary.items.size), np.nan)
    category_idx, categories = np.zeros(vocabulary.items.size, np.int32), IdMap.of(_no_text())
    if lake.exists("items"):
        catalog = with_predicted_category(
            lake.read("items", columns=[c.ITEM_ID, c.LAT, c.LON, c.CATEGORY]), lake
        )
        item_idx = vocabulary.items.index(catalog[c.ITEM_ID])
        item_categories = pc.coalesce(catalog[c.CATEGORY], catalog[c.PREDICTED_CATEGORY])
        categories = IdMap.of(item_categories)
        category_idx[item_idx] = categories.index(item_categories)
        lat[item_idx], lon[item_idx] = catalog[c.LAT].to_numpy(), catalog[c.LON].to_numpy()
        lat[0] = lon[0] = np.nan
        category_idx[0] = 0
    if items_are_places(vocabulary):
        return ItemMetadata(lat, lon, lat, lon, categories, category_idx)
    place_lat, place_lon = _place_coordinates(lake, vocabulary.places)
    return ItemMetadata(lat, lon, place_lat, place_lon, categories, category_idx)


def _place_coordinates(lake: Lake, places: IdMap) -> tuple[Float64, Float64]:
    lat, lon = np.full((2, places.size), np.nan)
    is_located = pc.field(c.LAT).is_valid() & pc.field(c.PLACE_ID).is_valid()
    columns = [c.PLACE_ID, c.LAT, c.LON]
    located_events = lake.dataset("events").to_table(columns=columns, filter=is_located)
    place_means = located_events.group_by(c.PLACE_ID).aggregate([(c.LAT, "mean"), (c.LON, "mean")])
    place_idx = places.index(place_means[c.PLACE_ID])
    lat[place_idx], lon[place_idx] = (
        place_means[f"{c.LAT}_mean"].to_numpy(),
        place_means[f"{c.LON}_mean"].to_numpy(),
    )
    lat[0] = lon[0] = np.nan
    return lat, lon


def _no_text() -> pa.Array:
    return pa.array([], pa.string())
