"""Calibration of a predicted time: likelihood and coverage of the distribution of the gap."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, ndtr

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Float64

SHORTEST_H = 1 / 3600
"""Gaps are at least one second, the resolution of the log."""

NOMINAL_LEVELS = (0.1, 0.9)
"""Levels of the ends of the central 80 % interval."""

MIN_CONFORMAL_GAPS = 50
"""Gaps below which observed levels say less than the nominal ones."""

_BISECTION_STEPS = 60
_PIT_BINS = 10


@dataclass(frozen=True, slots=True)
class LognormalMixture:
    """Predicted gap in hours of each of B targets: a mixture of K lognormals.

    Attributes:
        log_weight: Log of the mixing weights, each row sums to one, shape (B, K).
        mu: Mean of the log hours, shape (B, K).
        sigma: Standard deviation of the log hours, shape (B, K), positive.
    """

    log_weight: Float64
    mu: Float64
    sigma: Float64

    def __post_init__(self) -> None:
        """Validate shapes, scales and weights."""
        shapes = {np.shape(part) for part in (self.log_weight, self.mu, self.sigma)}
        if len(shapes) != 1 or np.ndim(self.mu) != 2:
            raise DataError("The parts of a mixture must share a shape (B, K)", received=shapes)
        if not (np.asarray(self.sigma) > 0).all():
            raise DataError("sigma must be positive", received=np.min(self.sigma, initial=0))
        total = logsumexp(self.log_weight, axis=1)
        if not np.allclose(total, 0, atol=1e-4):
            raise DataError("Mixing weights must sum to one", received=np.exp(total).max())

    @classmethod
    def of_parts(cls, head_output: npt.NDArray[np.floating]) -> Self:
        """Mixture of log-weights, means and log-scales of log hours, shape (B, 3, K)."""
        # (B, 3, K) -> three arrays of shape (B, K)
        log_weight, mean, log_scale = np.asarray(head_output, np.float64).transpose(1, 0, 2)
        return cls(log_weight, mean, np.exp(log_scale))

    def log_density(self, hours: Float64) -> Float64:
        """Log density at one gap of each target, shape (B,).

        ``log p(h) = logsumexp_k(log w_k + log N(log h; mu_k, sigma_k)) - log h``
        """
        log_hours = np.log(_clamp_hours(hours))
        z_score = (log_hours[:, None] - self.mu) / self.sigma  # (B, K)
        log_normal = -0.5 * z_score**2 - np.log(self.sigma) - 0.5 * np.log(2 * np.pi)
        log_mixture = logsumexp(self.log_weight + log_normal, axis=1)  # (B,)
        return np.asarray(log_mixture - log_hours, dtype=np.float64)

    def cdf(self, hours: Float64) -> Float64:
        """Probability of a gap no longer than ``hours``, shape (B,)."""
        return self._cdf_of_log(np.log(_clamp_hours(hours)))

    def quantile(self, q: float | Float64) -> Float64:
        """Quantile of the gap in hours, by bisection, shape (B,).

        Args:
            q: One probability for all targets, or one each, shape (B,).
        """
        lower = (self.mu - 12 * self.sigma).min(axis=1)
        upper = (self.mu + 12 * self.sigma).max(axis=1)
        for _ in range(_BISECTION_STEPS):
            middle = (lower + upper) / 2
            is_below = self._cdf_of_log(middle) < q
            lower, upper = np.where(is_below, middle, lower), np.where(is_below, upper, middle)
        return np.asarray(np.exp((lower + upper) / 2), dtype=np.float64)

    def _cdf_of_log(self, log_hours: Float64) -> Float64:
        component_cdf = ndtr((log_hours[:, None] - self.mu) / self.sigma)  # (B, K)
        return np.asarray((np.exp(self.log_weight) * component_cdf).sum(axis=1), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class TimeCalibration:
    """Likelihood and calibration of the predicted gaps.

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


def evaluate_time(predicted_gaps: LognormalMixture, true_gaps_h: npt.ArrayLike) -> TimeCalibration:
    """Likelihood and calibration of predicted gaps.

    Args:
        predicted_gaps: One mixture a target.
        true_gaps_h: True gaps in hours, shape (B,); zero counts as one second.

    Returns:
        The calibration.

    Raises:
        DataError: There are no gaps, or they are negative, NaN or of another number.
    """
    true_h = np.asarray(true_gaps_h, dtype=np.float64)
    is_paired = len(true_h) > 0 and true_h.shape == predicted_gaps.mu.shape[:1]
    if not is_paired or not (true_h >= 0).all():
        raise DataError(
            "True gaps must be one non-negative number of hours a prediction",
            received=f"shape {true_h.shape}, smallest {true_h.min(initial=np.inf)}",
        )
    log_error = np.log(predicted_gaps.quantile(0.5)) - np.log(_clamp_hours(true_h))
    pit_counts, _ = np.histogram(predicted_gaps.cdf(true_h), bins=_PIT_BINS, range=(0, 1))
    low_h, high_h = predicted_gaps.quantile(0.1), predicted_gaps.quantile(0.9)
    is_inside = (true_h >= low_h) & (true_h <= high_h)
    return TimeCalibration(
        nll=float(-predicted_gaps.log_density(true_h).mean()),
        mean_abs_log_error=float(np.abs(log_error).mean()),
        coverage_80=float(is_inside.mean()),
        pit=tuple((pit_counts / len(true_h)).tolist()),
        n_targets=len(true_h),
    )


def conformal_levels(pit: Float64) -> tuple[float, float]:
    """Levels of the predicted distribution between which 80 % of the observed gaps lay.

    An interval between these quantiles of later predictions covers 80 %, if later gaps are as
    these, however wrong the distribution is.

    Args:
        pit: Predicted probability of a gap no longer than the observed one, shape (n,).

    Returns:
        Levels of the lower and the upper end; the nominal ones for fewer than
        ``MIN_CONFORMAL_GAPS`` gaps.

    Source:
        Vovk et al. (2005), *Algorithmic Learning in a Random World*, split conformal prediction.

    Examples:
        >>> low, high = conformal_levels(np.linspace(0.0, 0.5, 101))  # all gaps came early
        >>> round(low, 2), round(high, 2)
        (0.05, 0.51)
    """
    if len(pit) < MIN_CONFORMAL_GAPS:
        return NOMINAL_LEVELS
    low, high = np.quantile(pit, NOMINAL_LEVELS)
    return float(np.clip(low, 0.001, 0.49)), float(np.clip(high, 0.51, 0.999))


def _clamp_hours(hours: Float64) -> Float64:
    return np.maximum(np.asarray(hours, dtype=np.float64), SHORTEST_H)
