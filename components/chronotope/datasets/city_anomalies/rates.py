"""Kinds and rates of the anomalies that are planted in a simulated city.

    takeover   A stolen account: for 12 events on average, the places of the user's events are drawn
               from what is popular in the city, whatever the user's home, work and past. The times
               stay the user's.
    bot        A script uses the account: 20 extra events on average, 45 +- 3 s apart, each at a
               random place.
    flood      A place is flooded: 40 extra events on average within half an hour, each of a random
               account.
    teleport   Impossible travel: one extra event, 1 to 5 minutes after the user's last one, at a
               place 5 km away or farther.

The lengths of takeovers and bot runs are geometric, the size of a flood is Poisson.
"""

from enum import IntEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

TAKEOVER_EVENTS: Final = 12
"""Mean number of events of a takeover."""
BOT_EVENTS: Final = 20
"""Mean number of events of a bot run."""
BOT_GAP_S: Final = 45.0
BOT_GAP_SD_S: Final = 3.0
FLOOD_EVENTS: Final = 40
"""Mean number of events of a flood."""
FLOOD_S: Final = 1_800
TELEPORT_GAP_S: Final = (60, 300)
TELEPORT_KM: Final = 5.0
MIN_PAST: Final = 10
"""Events of a user before the first takeover, bot run or teleport."""


class AnomalyKind(IntEnum):
    """Kind of an event; 0 is an event of the user's own."""

    REGULAR = 0
    MISPLACED = 1
    TAKEOVER = 2
    BOT = 3
    FLOOD = 4
    TELEPORT = 5

    @property
    def label(self) -> str:
        """The kind in a file of labels."""
        return self.name.lower()


PLANTED: Final = (
    AnomalyKind.TAKEOVER,
    AnomalyKind.BOT,
    AnomalyKind.FLOOD,
    AnomalyKind.TELEPORT,
)
"""Kinds with a rate of their own."""


class AnomalyRates(BaseModel):
    """Expected number of planted events, per regular event, by kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    takeover: float = Field(0.0, ge=0, le=0.2, description="Share of events of stolen accounts")
    bot: float = Field(0.0, ge=0, le=0.2, description="Events of scripts per regular event")
    flood: float = Field(0.0, ge=0, le=0.2, description="Events of floods per regular event")
    teleport: float = Field(0.0, ge=0, le=0.2, description="Impossible trips per regular event")

    @property
    def is_zero(self) -> bool:
        """Whether nothing is planted."""
        return not any((self.takeover, self.bot, self.flood, self.teleport))
