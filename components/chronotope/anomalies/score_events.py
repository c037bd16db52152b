"""Scores of new events of a dataset, given the events before them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.anomalies.behaviour_features import (
    FeatureTable,
    behaviour_features,
    risk_features,
)
from chronotope.anomalies.behaviour_log import BehaviourLog, read_behaviour_log
from chronotope.anomalies.detector import AnomalyReason, explain_events
from chronotope.anomalies.detector_files import DetectorBundle
from chronotope.anomalies.recommender_surprise import (
    RECOMMENDER_FEATURES,
    behaviour_catalog,
    open_recommender,
    recommender_features,
    with_places,
)
from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Float64, Int64

BEHAVIOUR_COLUMNS: Final = (
    c.EVENT_ID,
    c.USER_ID,
    c.ITEM_ID,
    c.OCCURRED_AT,
    c.UTC_OFFSET_MIN,
    c.LAT,
    c.LON,
    c.VALUE,
)
"""Columns of events that features are computed from."""

LABEL_COLUMN_FACT: Final = "label_column"
"""Fact of a detector's files: the event column with outcomes; empty if there is none."""


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """Scores of new events.

    Attributes:
        surprise: -log p of each new event, shape (n_new,).
        is_flagged: Whether it lies beyond the threshold, shape (n_new,).
        reasons: Reasons of each flagged event, by its position.
    """

    surprise: Float64
    is_flagged: np.ndarray
    reasons: dict[int, tuple[AnomalyReason, ...]]


def score_new_events(
    bundle: DetectorBundle,
    history: pa.Table,
    new_events: pa.Table,
    posted_labels: Mapping[str, bool],
) -> ScoredBatch:
    """Score events after those that are known; new events count for each other in time order.

    Args:
        bundle: The detector.
        history: Events before, columns of the event table; may lack those of ``new_events``.
        new_events: Events to score, normalised.
        posted_labels: Known outcomes by event id.
    """
    label_column = bundle.facts.get(LABEL_COLUMN_FACT) or None
    column_names = [*BEHAVIOUR_COLUMNS, *([] if label_column is None else [label_column])]
    all_events = pa.concat_tables(
        [_selected(new_features, column_names) for new_features in (history, new_events)],
        promote_options="permissive",
    )
    behaviour = read_behaviour_log(
        all_events, label_column=label_column, posted_labels=posted_labels
    )
    log_position = np.empty(len(all_events), dtype=np.int64)
    log_position[behaviour.row_idx] = np.arange(len(all_events))
    new_features = detector_features(bundle, behaviour, log_position[len(history) :])
    surprise = bundle.detector.surprise(new_features)
    is_flagged = surprise > bundle.threshold.surprise
    flagged_rows: Int64 = np.flatnonzero(is_flagged)
    reason_texts = (
        explain_events(bundle.detector, new_features.take(flagged_rows))
        if len(flagged_rows)
        else []
    )
    return ScoredBatch(
        surprise, is_flagged, dict(zip(flagged_rows.tolist(), reason_texts, strict=True))
    )


def detector_features(bundle: DetectorBundle, behaviour: BehaviourLog, rows: Int64) -> FeatureTable:
    """Features that a detector reads, of some events.

    Args:
        bundle: The detector.
        behaviour: Events in the order of the log.
        rows: Positions of the events to score, shape (n,).
    """
    features = known_features(bundle, behaviour).take(rows)
    if bundle.recommender_dir is not None and reads_recommender(bundle):
        recommender = open_recommender(bundle.recommender_dir, behaviour_catalog(behaviour))
        surprise = recommender_features(recommender, with_places(behaviour), rows)
        features = features.joined(surprise)
    return features.select(bundle.detector.feature_names)


def known_features(
    bundle: DetectorBundle, behaviour: BehaviourLog, *, is_partial: bool = False
) -> FeatureTable:
    """Features of behaviour and risk, of every event: all that need no recommender.

    Args:
        bundle: The detector.
        behaviour: Events in the order of the log.
        is_partial: Whether these are a few events of a log: columns may be empty among them.
    """
    names = bundle.detector.feature_names
    features = behaviour_features(
        behaviour.log,
        behaviour.places,
        typical_value=bundle.typical_value,
        required_names=names if is_partial else (),
    )
    if not set(names) <= {*features.names, *RECOMMENDER_FEATURES}:
        risk_table = risk_features(
            behaviour.log, behaviour.labels, delay_days=bundle.label_delay_days
        )
        features = features.joined(risk_table)
    return features


def reads_recommender(bundle: DetectorBundle) -> bool:
    """Whether a detector reads how unlikely events are to a recommender."""
    return bool(set(bundle.detector.feature_names) & set(RECOMMENDER_FEATURES))


def _selected(all_events: pa.Table, column_names: list[str]) -> pa.Table:
    """The columns, those that are missing as nulls; texts as plain strings."""
    selected_columns = {}
    for name in column_names:
        if name not in all_events.column_names:
            selected_columns[name] = pa.nulls(len(all_events))
        elif pa.types.is_string_view(all_events[name].type) or pa.types.is_large_string(
            all_events[name].type
        ):
            selected_columns[name] = pc.cast(all_events[name], pa.string())
        else:
            selected_columns[name] = all_events[name]
    return pa.table(selected_columns)
