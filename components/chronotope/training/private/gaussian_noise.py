"""Gaussian mechanism: the noise that a privacy budget needs.

Source: Balle and Wang (2018), *Improving the Gaussian mechanism for differential privacy*, theorem
8: noise of deviation ``sigma`` on a value of L2 sensitivity 1 is (epsilon, delta)-DP exactly if

    Phi(1 / (2 sigma) - epsilon sigma) - exp(epsilon) Phi(-1 / (2 sigma) - epsilon sigma) <= delta
"""

import math

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr


def gaussian_delta(sigma: float, epsilon: float) -> float:
    """Smallest delta of Gaussian noise at a sensitivity of 1.

    Args:
        sigma: Standard deviation.
        epsilon: Privacy loss.

    Example:
        >>> round(gaussian_delta(1.0, 1.0), 4)
        0.1269
    """
    upper = ndtr(0.5 / sigma - epsilon * sigma)
    lower = math.exp(epsilon + float(log_ndtr(-0.5 / sigma - epsilon * sigma)))
    return max(0.0, float(upper) - lower)


def noise_multiplier(epsilon: float, delta: float) -> float:
    """Smallest standard deviation for a budget, at a sensitivity of 1.

    Args:
        epsilon: Privacy loss, above 0.
        delta: Its failure probability, between 0 and 1.
    """
    return float(brentq(lambda sigma: gaussian_delta(sigma, epsilon) - delta, 1e-3, 1e6))
