"""Explanations of recommended items by real runs of the model without parts of the history."""

from chronotope.explanations.counterfactual import Counterfactual, find_counterfactual
from chronotope.explanations.event_effects import EventEffect, event_effects, mean_effects
from chronotope.explanations.explain_items import Explanation, InfluentialEvent, explain_scores
from chronotope.explanations.occlusion import HistoryOcclusion, OccludedScores, without_events

__all__ = [
    "Counterfactual",
    "EventEffect",
    "Explanation",
    "HistoryOcclusion",
    "InfluentialEvent",
    "OccludedScores",
    "event_effects",
    "explain_scores",
    "find_counterfactual",
    "mean_effects",
    "without_events",
]
