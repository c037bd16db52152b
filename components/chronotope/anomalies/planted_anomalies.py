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
    random_generator = np.random.default_rng(seed)
    n_events = len(behaviour.log)
    planted_rows = np.flatnonzero(random_generator.random(n_events) < share)
    donor_rows = random_generator.integers(0, n_events, len(planted_rows))
    is_other = behaviour.log.user_idx[donor_rows] != behaviour.log.user_idx[planted_rows]
    planted_rows, donor_rows = planted_rows[is_other], donor_rows[is_other]
    changed_columns = {}
    for column_name in ("item_idx", "place_idx", "value"):
        changed_column = getattr(behaviour.log, column_name).copy()
        changed_column[planted_rows] = changed_column[donor_rows]
        changed_columns[column_name] = changed_column
    is_anomalous = np.zeros(n_events)
    is_anomalous[planted_rows] = 1
    labels = EventLabels(is_anomalous, np.ones(n_events, dtype=np.bool_))
    return replace(behaviour, log=replace(behaviour.log, **changed_columns), labels=labels)
