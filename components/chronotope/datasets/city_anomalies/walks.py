"""Events of a block of users of a simulated city."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Int32, Int64


@dataclass(frozen=True, slots=True)
class Walks:
    """Events of a block of users, ordered by user and time.

    Attributes:
        first_user: Index of the block's first user.
        length: Number of events of each user, shape (n_users,).
        home, work: Place indices of each user's home and work, shape (n_users,).
        occurred_s: Time of each event, UTC seconds, shape (n_events,).
        item: Index of the visited place, shape (n_events,).
        kind: ``AnomalyKind`` of each event, shape (n_events,).
    """

    first_user: int
    length: Int64
    home: Int32
    work: Int32
    occurred_s: Int64
    item: Int32
    kind: Int32

    @property
    def anomaly(self) -> npt.NDArray[np.bool_]:
        """Whether an event is not the user's own, shape (n_events,)."""
        return np.asarray(self.kind > 0)

    @property
    def user(self) -> Int64:
        """User of each event within the block, shape (n_events,)."""
        return np.repeat(np.arange(len(self.length)), self.length)
