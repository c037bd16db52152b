"""Column names of the data contract: events, items, context and quarantine."""

from typing import Final

EVENT_ID: Final = "event_id"
USER_ID: Final = "user_id"
ITEM_ID: Final = "item_id"
EVENT_TYPE: Final = "event_type"
OCCURRED_AT: Final = "occurred_at"
UTC_OFFSET_MIN: Final = "utc_offset_min"
PLACE_ID: Final = "place_id"
LAT: Final = "lat"
LON: Final = "lon"
VALUE: Final = "value"
VALID_UNTIL: Final = "valid_until"
SESSION_ID: Final = "session_id"

CATEGORY: Final = "category"
PREDICTED_CATEGORY: Final = "predicted_category"
TITLE: Final = "title"
TEXT: Final = "text"
IMAGE_PATH: Final = "image_path"

REASONS: Final = "reasons"
SUITE: Final = "suite"
RUN_ID: Final = "run_id"
QUARANTINED_AT: Final = "quarantined_at"
SOURCE: Final = "source"
PAYLOAD: Final = "payload"
