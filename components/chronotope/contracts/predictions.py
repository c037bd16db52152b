"""Data contract of the predictions table: the next items, time and places of every user."""

from typing import Final

import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.schemas import INSTANT

PREDICTIONS_TABLE: Final = "predictions"
"""Name of the table in the lake."""

RANK: Final = "rank"
PROBABILITY: Final = "probability"
REASON: Final = "reason"
IS_NEW: Final = "is_new"
MEDIAN_H: Final = "next_event_median_h"
LOW_H: Final = "next_event_low_h"
HIGH_H: Final = "next_event_high_h"
PLACES: Final = "places"
N_HISTORY: Final = "n_history"
N_UNKNOWN_ITEMS: Final = "n_unknown_items"
SCORED_AT: Final = "scored_at"
MODEL_VERSION: Final = "model_version"
DATA_VERSION: Final = "data_version"
SCORING_KEY: Final = "scoring_key"
HISTORY_DIGEST: Final = "history_digest"

PLACE_TYPE: Final = pa.struct(
    [
        pa.field("place_id", pa.string()),
        pa.field("probability", pa.float64()),
        pa.field("lat", pa.float64()),
        pa.field("lon", pa.float64()),
    ]
)
"""A forecast place: id, probability, and degrees if known."""

PREDICTIONS: Final = pa.schema(
    [
        pa.field(c.USER_ID, pa.string(), nullable=False),
        pa.field(RANK, pa.int32(), nullable=False),
        pa.field(c.ITEM_ID, pa.string(), nullable=False),
        pa.field(c.TITLE, pa.string(), nullable=False),
        pa.field(c.CATEGORY, pa.string()),
        pa.field(c.CATEGORY_CONFIDENCE, pa.float32()),
        pa.field(c.LAT, pa.float64()),
        pa.field(c.LON, pa.float64()),
        pa.field(PROBABILITY, pa.float64()),
        pa.field(REASON, pa.string(), nullable=False),
        pa.field(IS_NEW, pa.bool_(), nullable=False),
        pa.field(MEDIAN_H, pa.float64()),
        pa.field(LOW_H, pa.float64()),
        pa.field(HIGH_H, pa.float64()),
        pa.field(PLACES, pa.list_(PLACE_TYPE), nullable=False),
        pa.field(N_HISTORY, pa.int32(), nullable=False),
        pa.field(N_UNKNOWN_ITEMS, pa.int32(), nullable=False),
        pa.field(SCORED_AT, INSTANT, nullable=False),
        pa.field(MODEL_VERSION, pa.string(), nullable=False),
        pa.field(DATA_VERSION, pa.string(), nullable=False),
        pa.field(SCORING_KEY, pa.string(), nullable=False),
        pa.field(HISTORY_DIGEST, pa.int64(), nullable=False),
    ]
)
"""Predictions table, one row per user and rank; time, places and versions repeat within a user.

``category_confidence`` is null where the catalogue gives the category.
``probability`` is null with an item index, ``next_event_*_h`` (hours from ``scored_at``) without
a time forecast. ``scoring_key`` and ``history_digest`` tell whether a user has to be scored again.
"""

INTERNAL_COLUMNS: Final = (SCORING_KEY, HISTORY_DIGEST)
"""Columns that are left out of exports."""
