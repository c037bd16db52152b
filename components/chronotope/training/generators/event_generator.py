"""What a generator of events is, and rows of generated users."""

from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from chronotope.contracts.event_log import EventLog, Float32, Int32, Int64

GeneratorKind = Literal["markov_renewal", "gan"]

GENERATORS: Final[tuple[GeneratorKind, ...]] = ("markov_renewal", "gan")

MIN_USERS: Final = 3
"""Transitions of fewer users are not generated, and rare items are equally likely."""


class EventGenerator(Protocol):
    """A process fitted on a log that generates users who were never there."""

    def generate(self, n_users: int, seed: int) -> EventLog:
        """Events of new users 1 to n_users, in the item and place indices of the fitted log.

        Args:
            n_users: Number of users.
            seed: Seed of all draws.
        """


@dataclass(frozen=True, slots=True)
class UserEvents:
    """Events of one generated user in order of time, shape (n,) each."""

    item_idx: Int32
    place_idx: Int32
    occurred_s: Int64
    utc_offset_min: int
    value: Float32


def as_log(user_list: list[UserEvents]) -> EventLog:
    """Log of generated users; the first has index 1."""
    lengths = [len(user.item_idx) for user in user_list]
    if not sum(lengths):
        return EventLog.sorted(user_idx=[], item_idx=[], occurred_s=[])
    return EventLog.sorted(
        user_idx=np.repeat(np.arange(1, len(user_list) + 1), lengths),
        item_idx=np.concatenate([user.item_idx for user in user_list]),
        occurred_s=np.concatenate([user.occurred_s for user in user_list]),
        place_idx=np.concatenate([user.place_idx for user in user_list]),
        utc_offset_min=np.repeat([user.utc_offset_min for user in user_list], lengths),
        value=np.concatenate([user.value for user in user_list]),
    )
