"""Privacy loss of many noisy steps: Renyi differential privacy of the sampled Gaussian mechanism.

One step adds noise of deviation ``sigma`` times the bound of a user's contribution to a sum over
users who were drawn independently with probability q. Its Renyi divergence of integer order a is

    R(a) = log(sum_k C(a, k) (1 - q)^(a - k) q^k exp(k (k - 1) / (2 sigma^2))) / (a - 1)

Divergences of steps add up; then

    epsilon = min over a of R(a) + log(1 - 1 / a) - log(a delta) / (a - 1)

Source: Mironov, Talwar and Zhang (2019), *Renyi differential privacy of the sampled Gaussian
mechanism*, section 3.3; Balle et al. (2020), *Hypothesis testing interpretations and Renyi
differential privacy*, theorem 21.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, logsumexp

from chronotope.contracts.event_log import Float64

ORDERS: Final = np.array([*range(2, 65), 80, 96, 128, 192, 256])
"""Orders of the divergence that are tried."""


@dataclass(frozen=True, slots=True)
class NoisySteps:
    """Steps of one kind.

    Attributes:
        noise_multiplier: Deviation of the noise, in units of the bound of a contribution.
        sample_rate: Probability with which a user takes part in a step; 1 for a release of counts.
        n_steps: Number of steps.
    """

    noise_multiplier: float
    sample_rate: float
    n_steps: int


def spent_epsilon(delta: float, *all_steps: NoisySteps) -> float:
    """Privacy loss of steps of several kinds together.

    Args:
        delta: Its failure probability.
        all_steps: The steps, in any order.

    Example:
        >>> round(spent_epsilon(1e-5, NoisySteps(1.2, 0.1, 200)), 4)
        8.155
    """
    return max(0.0, float(_losses(delta, all_steps).min()))


def _losses(delta: float, all_steps: tuple[NoisySteps, ...]) -> Float64:
    """Epsilon by each of ``ORDERS``."""
    total = sum((steps.n_steps * renyi_divergence(steps) for steps in all_steps), np.zeros(1))
    log_delta = math.log(delta)
    losses = total + np.log1p(-1.0 / ORDERS) - (log_delta + np.log(ORDERS)) / (ORDERS - 1)
    return np.asarray(losses, np.float64)


def renyi_divergence(steps: NoisySteps) -> Float64:
    """Divergence of one step for each of ``ORDERS``.

    Args:
        steps: Noise and sample rate.
    """
    variance = steps.noise_multiplier**2
    if steps.sample_rate >= 1.0:
        return np.asarray(ORDERS / (2.0 * variance), np.float64)
    divergences = []
    for order in ORDERS.tolist():
        n_drawn = np.arange(order + 1)
        log_choices = gammaln(order + 1) - gammaln(n_drawn + 1) - gammaln(order - n_drawn + 1)
        log_terms = (
            log_choices
            + (order - n_drawn) * math.log1p(-steps.sample_rate)
            + n_drawn * math.log(steps.sample_rate)
            + n_drawn * (n_drawn - 1) / (2.0 * variance)
        )
        divergences.append(float(logsumexp(log_terms)) / (order - 1))
    return np.array(divergences)


def noise_for_steps(
    epsilon: float, delta: float, sample_rate: float, n_steps: int, counts: NoisySteps
) -> float:
    """Smallest noise multiplier of steps that, after a release of counts, spend a budget.

    Args:
        epsilon: Budget of all together.
        delta: Its failure probability.
        sample_rate: Probability with which a user takes part in a step.
        n_steps: Number of steps.
        counts: Release that the same budget covers.
    """

    def excess(log_noise: float) -> float:
        steps = NoisySteps(math.exp(log_noise), sample_rate, n_steps)
        return spent_epsilon(delta, steps, counts) - epsilon

    return math.exp(float(brentq(excess, math.log(0.2), math.log(1e4), xtol=1e-4))) * (1.0 + 1e-4)


def noise_instead_of_steps(delta: float, steps: NoisySteps, counts: NoisySteps) -> float:
    """Noise multiplier of one release that may follow the counts instead of the steps.

    At the order that decides the loss of counts and steps, the release has the divergence of the
    steps. So whichever of the two the counts make one choose, the loss is no larger.

    Args:
        delta: Failure probability of the loss.
        steps: The steps that the release replaces.
        counts: Release before both.
    """
    best = int(_losses(delta, (steps, counts)).argmin())
    divergence = steps.n_steps * float(renyi_divergence(steps)[best])
    return math.sqrt(float(ORDERS[best]) / (2.0 * divergence))
