"""Anomalies: events that are not like their user's or their item's past.

behaviour_features: Features of events, from earlier events only.
risk_features: Shares of labelled anomalies of user and item, once their labels are known.
GraphDetector, EnsembleDetector: Fitted detectors, run without torch.
explain_events: Features that raise the score of an event.

``fit_detectors`` fits them; it imports torch and is not re-exported.
"""

from chronotope.anomalies.behaviour_features import (
    EventLabels,
    FeatureTable,
    ItemPlaces,
    behaviour_features,
    risk_features,
)
from chronotope.anomalies.detector import (
    AnomalyReason,
    Detector,
    EnsembleDetector,
    FittedDetector,
    GraphDetector,
    explain_events,
    user_scores,
)

__all__ = [
    "AnomalyReason",
    "Detector",
    "EnsembleDetector",
    "EventLabels",
    "FeatureTable",
    "FittedDetector",
    "GraphDetector",
    "ItemPlaces",
    "behaviour_features",
    "explain_events",
    "risk_features",
    "user_scores",
]
