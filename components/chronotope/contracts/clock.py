"""How far clocks may differ: the one bound on events of the future."""

from datetime import datetime, timedelta
from typing import Final

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
"""An event later than now by more than this lies in the future and is refused, whichever way it
comes in: the clocks of tills and phones run ahead by seconds, not by hours."""


def is_in_future(event_time: datetime, current_time: datetime) -> bool:
    """Whether an event cannot have happened yet, whatever clock timed it.

    Args:
        event_time: When it is said to have happened, with a zone.
        current_time: Instant of the check, with a zone.
    """
    return event_time > current_time + MAX_CLOCK_SKEW
