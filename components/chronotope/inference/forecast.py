"""When and where the next event is, in hours and places."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from scipy.special import softmax

from chronotope.artifact.bundle import Vocabulary
from chronotope.contracts.event_log import Float32, Float64
from chronotope.inference.history import UserHistory
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.inference.ranking import none_if_nan
from chronotope.inference.request import PlaceForecast, TimeForecast
from chronotope.metrics import LognormalMixture

_MIN_SURVIVAL = 1e-6  # a longer silence is beyond what the mixture can speak of
_MAX_MEDIAN_H = 10 * 365 * 24.0  # so is a wait of ten years: the tail of one, not a forecast


@dataclass(frozen=True, slots=True)
class RemainingWait:
    """The rest of the gap, given that it has lasted some hours already.

    ``P(gap - s <= r | gap > s) = q`` where ``F(s + r) = F(s) + q (1 - F(s))``.

    Attributes:
        parts: Log-weights, means, log-scales of log hours, shape (3, K).
        silent_h: Hours s since the last event.
        passed: F(s).
    """

    parts: Float64
    silent_h: float
    passed: float

    def quantiles(self, q: Float64) -> Float64:
        """Hours from now within which the next event falls with probability q, shape (n,)."""
        gap = _mixture(np.repeat(self.parts[:, None], len(q), axis=1))
        return np.maximum(0.0, gap.quantile(self.passed + q * (1 - self.passed)) - self.silent_h)

    def passed_by(self, hours: Float64) -> Float64:
        """Probability that the next event has come within hours from now, shape (n,)."""
        gap = _mixture(np.repeat(self.parts[:, None], len(hours), axis=1))
        return (gap.cdf(self.silent_h + hours) - self.passed) / (1 - self.passed)

    def density(self, hours: Float64) -> Float64:
        """Density at hours from now, an hour, shape (n,)."""
        gap = _mixture(np.repeat(self.parts[:, None], len(hours), axis=1))
        log_density = gap.log_density(self.silent_h + hours)
        return np.asarray(np.exp(log_density) / (1 - self.passed))


def remaining_wait(mixture: Float32, past: UserHistory, at: datetime) -> RemainingWait | None:
    """The wait from a moment on.

    Args:
        mixture: What the model says of the whole gap, shape (1, 3, K).
        past: The user's events before the moment.
        at: The moment.

    Returns:
        None without a past, or after a silence the model cannot speak of.
    """
    if not len(past):
        return None
    silent_h = float(at.timestamp() - past.occurred_s[-1]) / 3600
    parts = mixture[0].astype(np.float64)
    passed = float(_mixture(parts[:, None]).cdf(np.array([silent_h]))[0])
    return None if 1 - passed < _MIN_SURVIVAL else RemainingWait(parts, silent_h, passed)


def forecast_time(wait: RemainingWait | None) -> TimeForecast | None:
    """Median and central 80 % interval; None for a wait of ten years or more."""
    if wait is None:
        return None
    low, median, high = wait.quantiles(np.array([0.1, 0.5, 0.9])).tolist()
    return TimeForecast(median, low, high) if median <= _MAX_MEDIAN_H else None


def forecast_places(
    logits: Float32, words: Vocabulary, facts: ItemMetadata, k: int
) -> tuple[PlaceForecast, ...]:
    """The k likeliest places; none where the log has no places."""
    if words.places.size < 2:
        return ()
    probability = softmax(logits[1:].astype(np.float64))
    top = np.argsort(-probability, kind="stable")[:k] + 1
    return tuple(
        PlaceForecast(
            str(words.places.name(i)),
            float(probability[i - 1]),
            none_if_nan(float(facts.place_lat[i])),
            none_if_nan(float(facts.place_lon[i])),
        )
        for i in top.tolist()
    )


def _mixture(parts: Float64) -> LognormalMixture:
    log_weight, mean, log_scale = parts
    return LognormalMixture(log_weight, mean, np.exp(log_scale))
