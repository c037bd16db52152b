"""Arrow schemas of the lake's tables.

A table may have further columns (context, attributes). Columns listed in ``REQUIRED``
are never null.
"""

from typing import Final

import pyarrow as pa

from chronotope.contracts import columns as c

INSTANT: Final = pa.timestamp("us", tz="UTC")

EVENTS: Final = pa.schema(
    [
        pa.field(c.EVENT_ID, pa.string(), nullable=False),
        pa.field(c.USER_ID, pa.string(), nullable=False),
        pa.field(c.ITEM_ID, pa.string(), nullable=False),
        pa.field(c.EVENT_TYPE, pa.string(), nullable=False),
        pa.field(c.OCCURRED_AT, INSTANT, nullable=False),
        pa.field(c.UTC_OFFSET_MIN, pa.int32()),
        pa.field(c.PLACE_ID, pa.string()),
        pa.field(c.LAT, pa.float64()),
        pa.field(c.LON, pa.float64()),
        pa.field(c.VALUE, pa.float64()),
        pa.field(c.SESSION_ID, pa.string()),
    ]
)

ITEMS: Final = pa.schema(
    [
        pa.field(c.ITEM_ID, pa.string(), nullable=False),
        pa.field(c.CATEGORY, pa.string()),
        pa.field(c.TITLE, pa.string()),
        pa.field(c.TEXT, pa.string()),
        pa.field(c.IMAGE_PATH, pa.string()),
        pa.field(c.LAT, pa.float64()),
        pa.field(c.LON, pa.float64()),
    ]
)

USERS: Final = pa.schema([pa.field(c.USER_ID, pa.string(), nullable=False)])

CONTEXT: Final = pa.schema(
    [
        pa.field(c.EVENT_ID, pa.string(), nullable=False),
        pa.field(c.OCCURRED_AT, INSTANT, nullable=False),
        pa.field(c.VALID_UNTIL, INSTANT, nullable=False),
        pa.field(c.PLACE_ID, pa.string()),
    ]
)
"""Context table, such as weather readings; a null place means that the row holds everywhere."""

ITEM_CONTEXT: Final = pa.schema(
    [
        pa.field(c.ITEM_ID, pa.string(), nullable=False),
        pa.field(c.PLACE_ID, pa.string(), nullable=False),
        pa.field(c.VALID_FROM, INSTANT, nullable=False),
        pa.field(c.VALID_UNTIL, INSTANT),
    ]
)
"""Item context, such as promotions; an empty place means everywhere, a null end no end. The first
three columns are the key of a row."""

QUARANTINE: Final = pa.schema(
    [
        pa.field(c.EVENT_ID, pa.string()),
        pa.field(c.SOURCE, pa.string(), nullable=False),
        pa.field(c.REASONS, pa.list_(pa.string()), nullable=False),
        pa.field(c.SUITE, pa.string(), nullable=False),
        pa.field(c.RUN_ID, pa.string(), nullable=False),
        pa.field(c.QUARANTINED_AT, INSTANT, nullable=False),
        pa.field(c.PAYLOAD, pa.string(), nullable=False),
    ]
)
"""Quarantine table, one row per refused row; ``payload`` is the original row as JSON."""

REQUIRED: Final = tuple(field.name for field in EVENTS if not field.nullable)
