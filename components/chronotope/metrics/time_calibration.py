"""How good a predicted moment was: the whole distribution of the gap, not a point."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, ndtr

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Float64

SHORTEST_H = 1 / 3600
"""Gaps are at least one second, the resolution of the log."""

_BISECTIONS = 60
_PIT_BINS = 10


@dataclass(frozen=True, slots=True)
class LognormalMixture:
    """A predicted gap in hours for each of B targets: K lognormals, mixed.

    Attributes:
        log_weight: Log of the mixing weights, each row sums to one, shape (B, K).
        mu: Mean of the log hours, shape (B, K).
        sigma: Standard deviation of the log hours, shape (B, K), positive.
    """

    log_weight: Float64
    mu: Float64
    sigma: Float64

    def __post_init__(self) -> None:
        """Refuse what is no mixture."""
        shapes = {np.shape(part) for part in (self.log_weight, self.mu, self.sigma)}
        if len(shapes) != 1 or np.ndim(self.mu) != 2:
            raise DataError("The parts of a mixture must share a shape (B, K)", received=shapes)
        if not (np.asarray(self.sigma) > 0).all():
            raise DataError("sigma must be positive", received=np.min(self.sigma, initial=0))
        total = logsumexp(self.log_weight, axis=1)
        if not np.allclose(total, 0, atol=1e-4):
            raise DataError("Mixing weights must sum to one", received=np.exp(total).max())

    @classmethod
    def of_parts(cls, parts: npt.NDArray[np.floating]) -> Self:
        """From log-weights, means and log-scales of log hours, shape (B, 3, K)."""
        log_weight, mean, log_scale = np.asarray(parts, np.float64).transpose(1, 0, 2)
        return cls(log_weight, mean, np.exp(log_scale))

    def log_density(self, hours: Float64) -> Float64:
        """Log density at one gap a target, shape (B,).

        ``log p(h) = logsumexp_k(log w_k + log N(log h; mu_k, sigma_k)) - log h``
        """
        log_h = np.log(_at_least_a_second(hours))
        z = (log_h[:, None] - self.mu) / self.sigma
        normal = -0.5 * z**2 - np.log(self.sigma) - 0.5 * np.log(2 * np.pi)
        return np.asarray(logsumexp(self.log_weight + normal, axis=1) - log_h, dtype=np.float64)

    def cdf(self, hours: Float64) -> Float64:
        """Probability of a gap no longer than ``hours``, shape (B,)."""
        return self._cdf_of_log(np.log(_at_least_a_second(hours)))

    def quantile(self, q: float | Float64) -> Float64:
        """Hours below which the gap falls with probability q, by bisection, shape (B,).

        Args:
            q: One probability for all targets, or one each, shape (B,).
        """
        low = (self.mu - 12 * self.sigma).min(axis=1)
        high = (self.mu + 12 * self.sigma).max(axis=1)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            is_below = self._cdf_of_log(middle) < q
            low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
        return np.asarray(np.exp((low + high) / 2), dtype=np.float64)

    def _cdf_of_log(self, log_h: Float64) -> Float64:
        share = ndtr((log_h[:, None] - self.mu) / self.sigma)
        return np.asarray((np.exp(self.log_weight) * share).sum(axis=1), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class TimeCalibration:
    """Quality of the predicted gaps.

    Attributes:
        nll: Mean negative log density of the true hours; lower is better.
        mean_abs_log_error: Mean ``|log median - log true|``.
        coverage_80: Share of gaps within the central 80 % interval; ideal .8.
        pit: Share of targets by tenth of the predicted distribution; ideal .1 each.
        n_targets: Number of targets.
    """

    nll: float
    mean_abs_log_error: float
    coverage_80: float
    pit: tuple[float, ...]
    n_targets: int


def evaluate_time(predicted: LognormalMixture, hours: npt.ArrayLike) -> TimeCalibration:
    """Judge predicted gaps against the true ones.

    Args:
        predicted: One mixture a target.
        hours: True gaps in hours, shape (B,); zero counts as one second.

    Returns:
        The scores.

    Raises:
        DataError: There are no gaps, or they are negative, NaN or of another number.
    """
    true = np.asarray(hours, dtype=np.float64)
    if len(true) == 0 or true.shape != predicted.mu.shape[:1] or not (true >= 0).all():
        raise DataError(
            "True gaps must be one non-negative number of hours a prediction",
            received=f"shape {true.shape}, smallest {true.min(initial=np.inf)}",
        )
    place = predicted.cdf(true)
    error = np.log(predicted.quantile(0.5)) - np.log(_at_least_a_second(true))
    pit, _ = np.histogram(place, bins=_PIT_BINS, range=(0, 1))
    is_inside = (true >= predicted.quantile(0.1)) & (true <= predicted.quantile(0.9))
    return TimeCalibration(
        nll=float(-predicted.log_density(true).mean()),
        mean_abs_log_error=float(np.abs(error).mean()),
        coverage_80=float(is_inside.mean()),
        pit=tuple((pit / len(true)).tolist()),
        n_targets=len(true),
    )


def _at_least_a_second(hours: Float64) -> Float64:
    return np.maximum(np.asarray(hours, dtype=np.float64), SHORTEST_H)
