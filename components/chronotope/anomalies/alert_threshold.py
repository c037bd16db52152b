"""Threshold of alerts: a wanted rate of false alarms, kept with confidence, or a daily budget."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binom

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Float64


@dataclass(frozen=True, slots=True)
class AlertThreshold:
    """Surprise beyond which an event is flagged.

    Attributes:
        surprise: The threshold; events above it are flagged.
        false_alarm_rate: Largest share of genuine events that are flagged.
        confidence: Probability with which that share is kept.
        alerts_per_day: Largest number of alerts of a day; the most surprising events come first.
    """

    surprise: float
    false_alarm_rate: float
    confidence: float
    alerts_per_day: int

    def to_json(self) -> dict[str, float]:
        """Fields for a manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "AlertThreshold":
        """Threshold of a manifest."""
        return cls(**fields)


def learn_threshold(
    genuine_surprise: Float64, *, false_alarm_rate: float, confidence: float, alerts_per_day: int
) -> AlertThreshold:
    """Threshold whose rate of false alarms on future events is bounded.

    The number of genuine events above the q-th of their scores is binomial, whatever the scores'
    distribution. The threshold is the lowest score for which a true rate above the wanted one would
    leave so few events above it with a probability of at most ``1 - confidence``.

    Args:
        genuine_surprise: Scores of events that are known or held to be genuine and that the
            detector was not fitted on, shape (n,).
        false_alarm_rate: Wanted rate, in (0, 1).
        confidence: Wanted confidence, in (0, 1).
        alerts_per_day: Budget, stored beside the threshold.

    Raises:
        DataError: There are too few events for this rate and confidence.
    """
    n_events = len(genuine_surprise)
    n_needed = math.ceil(math.log(1 - confidence) / math.log(1 - false_alarm_rate))
    if n_events < n_needed:
        raise DataError(
            "There are too few events to learn the threshold of alerts",
            received=f"{n_events} events; rate {false_alarm_rate:g}, confidence {confidence:g}",
            way_out=f"Hold out {n_needed} events or more, or allow more false alarms",
        )
    n_above = int(binom.ppf(1 - confidence, n_events, false_alarm_rate))
    while n_above > 0 and binom.cdf(n_above, n_events, false_alarm_rate) > 1 - confidence:
        n_above -= 1
    surprise = float(np.sort(genuine_surprise)[n_events - 1 - n_above])
    return AlertThreshold(surprise, false_alarm_rate, confidence, alerts_per_day)
