"""Tolerated clock skew: the one bound on event times that lie in the future."""

from datetime import datetime, timedelta
from typing import Final

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
"""Largest amount by which an event time may exceed the present time. Every intake refuses later
events: clocks of tills and phones are ahead by seconds, not by hours."""


def is_in_future(event_time: datetime, current_time: datetime) -> bool:
    """Whether an event time exceeds the present time by more than ``MAX_CLOCK_SKEW``.

    Args:
        event_time: Recorded time of the event, with a time zone.
        current_time: Instant of the check, with a time zone.
    """
    return event_time > current_time + MAX_CLOCK_SKEW
