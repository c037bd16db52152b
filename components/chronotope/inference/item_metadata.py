"""What is known of items and places apart from the events: where they are, of what kind."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.artifact.bundle import Vocabulary
from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Float64, Int32
from chronotope.contracts.ids import IdMap
from chronotope.inference.history import items_are_places
from chronotope.lake import Lake


@dataclass(frozen=True, slots=True)
class ItemMetadata:
    """Facts by index; index 0 is unknown.

    Attributes:
        lat, lon: Degrees of each item, shape (n_items,); NaN if unknown.
        place_lat, place_lon: Degrees of each place, shape (n_places,); NaN if unknown.
        categories: Kinds of items.
        category_idx: Kind of each item, shape (n_items,).
    """

    lat: Float64
    lon: Float64
    place_lat: Float64
    place_lon: Float64
    categories: IdMap
    category_idx: Int32


def read_item_metadata(lake: Lake, words: Vocabulary) -> ItemMetadata:
    """What the catalogue tells of the items, and the events of the places."""
    lat, lon = np.full((2, words.items.size), np.nan)
    category_idx, categories = np.zeros(words.items.size, np.int32), IdMap.of(_no_text())
    if lake.exists("items"):
        rows = lake.read("items", columns=[c.ITEM_ID, c.LAT, c.LON, c.CATEGORY])
        at = words.items.index(rows[c.ITEM_ID])
        categories = IdMap.of(rows[c.CATEGORY])
        category_idx[at] = categories.index(rows[c.CATEGORY])
        lat[at], lon[at] = rows[c.LAT].to_numpy(), rows[c.LON].to_numpy()
        lat[0] = lon[0] = np.nan
        category_idx[0] = 0
    if items_are_places(words):
        return ItemMetadata(lat, lon, lat, lon, categories, category_idx)
    place_lat, place_lon = _place_coordinates(lake, words.places)
    return ItemMetadata(lat, lon, place_lat, place_lon, categories, category_idx)


def _place_coordinates(lake: Lake, places: IdMap) -> tuple[Float64, Float64]:
    lat, lon = np.full((2, places.size), np.nan)
    located = pc.field(c.LAT).is_valid() & pc.field(c.PLACE_ID).is_valid()
    names = [c.PLACE_ID, c.LAT, c.LON]
    rows = lake.dataset("events").to_table(columns=names, filter=located)
    means = rows.group_by(c.PLACE_ID).aggregate([(c.LAT, "mean"), (c.LON, "mean")])
    at = places.index(means[c.PLACE_ID])
    lat[at], lon[at] = means[f"{c.LAT}_mean"].to_numpy(), means[f"{c.LON}_mean"].to_numpy()
    lat[0] = lon[0] = np.nan
    return lat, lon


def _no_text() -> pa.Array:
    return pa.array([], pa.string())
