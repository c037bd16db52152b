"""Where the future begins: clocks that send events are not those that receive them."""

from datetime import datetime, timedelta
from typing import Final

CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far the clock of a sender may be ahead."""


def is_in_future(moment: datetime, now: datetime) -> bool:
    """Whether an event cannot have happened yet, whatever clock timed it.

    Args:
        moment: When it is said to have happened, with a zone.
        now: Instant of the check, with a zone.
    """
    return moment > now + CLOCK_SKEW
