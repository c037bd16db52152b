"""Bounds of the values of an event: the same for sources, suites, the inbox and the service."""

from datetime import UTC, datetime
from typing import Final

MAX_UTC_OFFSET_MIN: Final = 840
"""Largest difference of local time from UTC, minutes: 14 hours, as on the Line Islands."""

EARLIEST_TIME: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""Earliest time of an event; the latest one is ``clock.MAX_CLOCK_SKEW`` after the present."""

MAX_ID_CHARS: Final = 1_024
"""Maximum length of an id or an event type, characters."""

MAX_TEXT_BYTES: Final = 65_536
"""Maximum length of any text, bytes of UTF-8."""

MAX_LAT_DEG: Final = 90.0
"""Largest latitude, north or south, degrees WGS 84."""

MAX_LON_DEG: Final = 180.0
"""Largest longitude, east or west, degrees WGS 84."""
