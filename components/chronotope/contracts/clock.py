"""How far clocks may differ: the one bound on events of the future."""

from datetime import timedelta
from typing import Final

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
"""An event later than now by more than this lies in the future and is refused, whichever way it
comes in: the clocks of tills and phones run ahead by seconds, not by hours."""
