"""Planted anomalies: known answers for logs without labels."""

from dataclasses import replace
from typing import Final

import numpy as np

from chronotope.anomalies.behaviour_features import EventLabels
from chronotope.anomalies.behaviour_log import BehaviourLog

MIN_LABELLED_ANOMALIES: Final = 20
"""Fewer labelled anomalies do not judge a detector; takeovers are planted instead."""


def has_labels(behaviour: BehaviourLog) -> bool:
    """Whether a log has enough labelled anomalies and genuine events."""
    is_labelled = behaviour.labels.is_labelled
    n_anomalous = int(behaviour.labels.is_anomalous[is_labelled].sum())
    return MIN_LABELLED_ANOMALIES <= n_anomalous < int(is_labelled.sum())


def plant_takeovers(behaviour: BehaviourLog, share: float, seed: int) -> BehaviourLog:
    """A log in which some accounts are used by others.

    A share of the events keeps user and time, but does what another user did at a random moment:
    item, place and amount. The training sees as many of them as the test, and no label.

    Args:
        behaviour: The log.
        share: Share of planted events.
        seed: Random seed.
    """
    rng = np.random.default_rng(seed)
    n_events = len(behaviour.log)
    planted = np.flatnonzero(rng.random(n_events) < share)
    donor = rng.integers(0, n_events, len(planted))
    is_other = behaviour.log.user_idx[donor] != behaviour.log.user_idx[planted]
    planted, donor = planted[is_other], donor[is_other]
    columns = {}
    for name in ("item_idx", "place_idx", "value"):
        column = getattr(behaviour.log, name).copy()
        column[planted] = column[donor]
        columns[name] = column
    is_anomalous = np.zeros(n_events)
    is_anomalous[planted] = 1
    labels = EventLabels(is_anomalous, np.ones(n_events, dtype=np.bool_))
    return replace(behaviour, log=replace(behaviour.log, **columns), labels=labels)
