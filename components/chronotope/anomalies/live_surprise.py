"""How unlikely a posted event is to the recommender of a detector, over lake and live events.

The surprise of each earlier event that a run needs is computed once and stored, so that an event
usually costs one inference.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from chronotope.anomalies.behaviour_features import FeatureTable
from chronotope.anomalies.behaviour_log import BehaviourLog
from chronotope.anomalies.recommender_surprise import (
    N_ITEM_RUN,
    N_USER_RUN,
    EventSurprise,
    behaviour_catalog,
    event_surprise,
    open_recommender,
    surprise_table,
)
from chronotope.contracts.event_log import EventLog

MAX_STORED: Final = 100_000
"""Events whose surprise is stored; the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class PastEvent:
    """What the recommender reads of an event.

    Attributes:
        user_id: User.
        item_idx: Item in the indices of the lake; 0 if the lake does not have it.
        occurred_s: UTC seconds.
        utc_offset_min: Minutes to add to UTC.
    """

    user_id: str
    item_idx: int
    occurred_s: int
    utc_offset_min: int


PastEvents = Sequence[PastEvent]
Histories = Callable[[str, int], PastEvents]


class LiveSurprise:
    """Scores one event after the other with the recommender of a detector."""

    def __init__(self, lake: BehaviourLog, recommender_dir: Path) -> None:
        """Open the recommender in the indices of the lake.

        Args:
            lake: Events of the lake.
            recommender_dir: Bundle of the recommender.
        """
        self._recommender = open_recommender(recommender_dir, behaviour_catalog(lake))
        self._has_places = lake.places is not None
        self._stored: OrderedDict[PastEvent, EventSurprise] = OrderedDict()

    def features(
        self, event: PastEvent, user_run: PastEvents, item_run: PastEvents, events_before: Histories
    ) -> FeatureTable:
        """``RECOMMENDER_FEATURES`` of one event, one row.

        Args:
            event: The event.
            user_run: Earlier events of its user in time order, at least the latest of the run.
            item_run: Earlier events of its item by all users, in time order.
            events_before: Latest events of a user before a time, in time order.
        """
        runs = [[*user_run[1 - N_USER_RUN :], event], [*item_run[1 - N_ITEM_RUN :], event]]
        self._score([past for run in runs for past in run], events_before)
        user_mean, item_mean = (
            np.array([np.mean([self._stored[past].item[0] for past in run])]) for run in runs
        )
        table = surprise_table(self._stored[event], user_mean, item_mean)
        while len(self._stored) > MAX_STORED:
            self._stored.popitem(last=False)
        return table

    def _score(self, needed: PastEvents, events_before: Histories) -> None:
        """Compute and store what is not stored yet, in one batch."""
        missing = [past for past in dict.fromkeys(needed) if past not in self._stored]
        if not missing:
            return
        n_read = self._recommender.history_len or 0
        histories = [
            [*events_before(past.user_id, past.occurred_s)[-n_read:], past] for past in missing
        ]
        # each history is that of a user of its own, whose last event is the one to score
        user_code = np.repeat(np.arange(1, len(missing) + 1), [len(events) for events in histories])
        all_events = [past for events in histories for past in events]
        item_idx = np.array([past.item_idx for past in all_events])
        small_log = EventLog.sorted(
            user_idx=user_code,
            item_idx=item_idx,
            occurred_s=np.array([past.occurred_s for past in all_events]),
            utc_offset_min=np.array([past.utc_offset_min for past in all_events]),
            place_idx=item_idx if self._has_places else None,
        )
        last_rows = np.cumsum([len(events) for events in histories]) - 1
        surprise = event_surprise(self._recommender, small_log, last_rows)
        for row, past in enumerate(missing):
            self._stored[past] = EventSurprise(
                surprise.item[row : row + 1], surprise.time[row : row + 1]
            )
