"""Forecasts of the time and place of the next event."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from scipy.special import softmax

from chronotope.artifact.bundle import Vocabulary
from chronotope.contracts.event_log import Float32, Float64
from chronotope.inference.history import UserHistory
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.inference.ranking import none_if_nan
from chronotope.inference.request import PlaceForecast, TimeForecast
from chronotope.metrics import LognormalMixture

_MIN_SURVIVAL = 1e-6  # beyond it the tail of the mixture is not informative
_MAX_MEDIAN_H = 10 * 365 * 24.0  # a median wait of ten years is an artefact of the tail
NOMINAL: Final = np.array([0.1, 0.5, 0.9])
"""Levels of low end, median and high end without a correction."""


@dataclass(frozen=True, slots=True)
class RemainingWait:
    """Distribution of the remaining gap, given the hours that have passed.

    ``P(gap - s <= r | gap > s) = q`` where ``F(s + r) = F(s) + q (1 - F(s))``.

    Attributes:
        mixture_parts: Log-weights, means, log-scales of log hours, shape (3, K).
        elapsed_h: Hours s since the last event.
        elapsed_cdf: F(s).
    """

    mixture_parts: Float64
    elapsed_h: float
    elapsed_cdf: float

    def quantiles(self, q: Float64) -> Float64:
        """Hours from now within which the next event falls with probability q, shape (n,)."""
        whole_gap = _mixture(np.repeat(self.mixture_parts[:, None], len(q), axis=1))
        return np.maximum(
            0.0, whole_gap.quantile(self.elapsed_cdf + q * (1 - self.elapsed_cdf)) - self.elapsed_h
        )

    def passed_by(self, hours: Float64) -> Float64:
        """Probability that the next event has come within hours from now, shape (n,)."""
        whole_gap = _mixture(np.repeat(self.mixture_parts[:, None], len(hours), axis=1))
        return (whole_gap.cdf(self.elapsed_h + hours) - self.elapsed_cdf) / (1 - self.elapsed_cdf)

    def density(self, hours: Float64) -> Float64:
        """Density at hours from now, an hour, shape (n,)."""
        whole_gap = _mixture(np.repeat(self.mixture_parts[:, None], len(hours), axis=1))
        log_density = whole_gap.log_density(self.elapsed_h + hours)
        return np.asarray(np.exp(log_density) / (1 - self.elapsed_cdf))


def remaining_wait(
    mixture: Float32, history: UserHistory, request_time: datetime
) -> RemainingWait | None:
    """Distribution of the remaining gap at the request time.

    Args:
        mixture: Predicted gap by the time head, shape (1, 3, K).
        history: The user's events before the request time.
        request_time: Time of the request.

    Returns:
        None without a history, or if the gap so far is beyond the tail of the mixture.
    """
    if not len(history):
        return None
    elapsed_h = float(request_time.timestamp() - history.occurred_s[-1]) / 3600
    mixture_parts = mixture[0].astype(np.float64)  # (3, K)
    elapsed_cdf = float(_mixture(mixture_parts[:, None]).cdf(np.array([elapsed_h]))[0])
    if 1 - elapsed_cdf < _MIN_SURVIVAL:
        return None
    return RemainingWait(mixture_parts, elapsed_h, elapsed_cdf)


def forecast_time(wait: RemainingWait | None, levels: Float64 = NOMINAL) -> TimeForecast | None:
    """Median and central 80 % interval; None for a wait of ten years or more.

    Args:
        wait: Distribution of the remaining gap.
        levels: Of low end, median and high end, shape (3,): ``interval_levels.forecast_levels``.
    """
    if wait is None:
        return None
    low_h, median_h, high_h = wait.quantiles(levels).tolist()
    return TimeForecast(median_h, low_h, high_h) if median_h <= _MAX_MEDIAN_H else None


def forecast_times(
    mixtures: Float32,
    histories: Sequence[UserHistory],
    request_time: datetime,
    levels: Float64 = NOMINAL,
) -> Float64:
    """Low, median and high hours of a batch, each row equal to ``forecast_time``.

    Args:
        mixtures: Predicted gaps by the time head, shape (B, 3, K).
        histories: Events of each user before the request time, B of them.
        request_time: Time of the request.
        levels: Of low end, median and high end, shape (3,).

    Returns:
        Hours, shape (B, 3); NaN without a time forecast.
    """
    forecast_hours = np.full((len(histories), len(levels)), np.nan)
    has_history = np.array([len(user_history) > 0 for user_history in histories], np.bool_)
    rows = np.flatnonzero(has_history)
    if not len(rows):
        return forecast_hours
    last_s = np.array([histories[row].occurred_s[-1] for row in rows.tolist()])
    elapsed_h = (request_time.timestamp() - last_s) / 3600
    # (B, 3, K) -> (3, B, K), contiguous: sums over K then add in the order of a single forecast
    mixture_parts = np.ascontiguousarray(mixtures[rows].astype(np.float64).transpose(1, 0, 2))
    elapsed_cdf = _mixture(mixture_parts).cdf(elapsed_h)
    is_informative = 1 - elapsed_cdf >= _MIN_SURVIVAL
    rows = rows[is_informative]
    elapsed_h, elapsed_cdf = elapsed_h[is_informative], elapsed_cdf[is_informative]
    n_quantiles = len(levels)
    whole_gap = _mixture(np.repeat(mixture_parts[:, is_informative], n_quantiles, axis=1))
    quantile_levels = elapsed_cdf[:, None] + levels * (1 - elapsed_cdf)[:, None]  # (B, 3)
    hour_quantiles = whole_gap.quantile(quantile_levels.ravel()).reshape(-1, n_quantiles)
    forecast_hours[rows] = np.maximum(0.0, hour_quantiles - elapsed_h[:, None])
    forecast_hours[forecast_hours[:, 1] > _MAX_MEDIAN_H] = np.nan
    return forecast_hours


def forecast_places(
    logits: Float32, vocabulary: Vocabulary, metadata: ItemMetadata, k: int
) -> tuple[PlaceForecast, ...]:
    """The k likeliest places; empty if the log has no places."""
    if vocabulary.places.size < 2:
        return ()
    place_probability = softmax(logits[1:].astype(np.float64))
    top_places = np.argsort(-place_probability, kind="stable")[:k] + 1
    return tuple(
        PlaceForecast(
            str(vocabulary.places.name(place_idx)),
            float(place_probability[place_idx - 1]),
            none_if_nan(float(metadata.place_lat[place_idx])),
            none_if_nan(float(metadata.place_lon[place_idx])),
        )
        for place_idx in top_places.tolist()
    )


def _mixture(mixture_parts: Float64) -> LognormalMixture:
    log_weight, mixture_mean, log_scale = mixture_parts  # (3, B, K)
    return LognormalMixture(log_weight, mixture_mean, np.exp(log_scale))
