"""Inference: from a user's history to ranked items with reasons.

Shared by the command line, the service and batch jobs. Exported here are the types of a request
and its result; ``recommend`` is in ``inference.recommend``, which loads MLflow for the champion.
"""

from chronotope.inference.request import (
    PlaceForecast,
    Recommendation,
    RecommendedItem,
    RecommendOptions,
    TimeForecast,
)

__all__ = [
    "PlaceForecast",
    "RecommendOptions",
    "Recommendation",
    "RecommendedItem",
    "TimeForecast",
]
