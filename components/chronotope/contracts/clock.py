"""How far clocks may differ: the one bound on events of the future."""

from datetime import datetime, timedelta
from typing import Final

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
"""An event later than now by more than this lies in the future and is refused, whichever way it
comes in: the clocks of tills and phones run ahead by seconds, not by hours."""


def is_in_future(moment: datetime, now: datetime) -> bool:
    """Whether an event cannot have happened yet, whatever clock timed it.

    Args:
        moment: When it is said to have happened, with a zone.
        now: Instant of the check, with a zone.
    """
    return moment > now + MAX_CLOCK_SKEW
