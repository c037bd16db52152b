"""Lists drawn at random, and exactly how probable each item was in its position.

Every policy gives each item of the pool a random score, independently, and ranks by it:

- ``softmax``: log p_i / T plus a Gumbel variable, which is the Plackett-Luce model;
- ``thompson``: a normal one around log p_i. n events tell the logarithm of a rate up to a
  standard deviation of 1 / sqrt(n), so its own is T / sqrt(1 + n_i), with at most 99 events.

An item a is at position j if exactly j others score higher, so with density f_a and survival
functions S_b its propensity is ``integral f_a(t) P[exactly j of the S_b(t) come true] dt``.
The trapezoidal rule converges exponentially for these integrands: the rest is below 1e-7.

Source: Plackett (1975), The Analysis of Permutations; Yellott (1977) for the Gumbel variables.
"""

import numpy as np
from scipy.special import ndtr

from chronotope.contracts.event_log import Float64, Int64
from chronotope.experiments.experiment import Exploration

LONGEST = 20
"""Longest list that ``softmax`` and ``thompson`` draw: the integrals grow with its square."""

_FLOOR = -30.0  # of the logarithm of a rate against the best one
_MOST_EVENTS = 99  # more make no item surer


def draw_positions(
    log_probability: Float64, n_events: Int64, k: int, how: Exploration, rng: np.random.Generator
) -> Int64:
    """Positions in the pool of k items, in the order they are shown.

    Args:
        log_probability: Of the pool's items, best first, shape (n,).
        n_events: Events of each item of late, shape (n,).
        k: Length of the list.
        how: The policy.
        rng: Source of chance.
    """
    if how.kind == "uniform":
        return rng.permutation(len(log_probability))[:k]
    if how.kind == "softmax":
        scores = _rates(log_probability, how) + rng.gumbel(size=len(log_probability))
    else:
        scores = rng.normal(log_probability, _spread(n_events, how))
    return np.argsort(-scores, kind="stable")[:k]


def propensities(
    shown: Int64, position: Int64, log_probability: Float64, n_events: Int64, how: Exploration
) -> Float64:
    """Probability that ``draw_positions`` puts items in positions, shape (k,).

    Args:
        shown: Different items, by where they are in the pool, shape (k,).
        position: Where in the list each is shown, from 0, shape (k,).
        log_probability: Of the pool's items, best first, shape (n,).
        n_events: Events of each item of late, shape (n,).
        how: The policy.
    """
    if how.kind == "uniform":
        return np.full(len(shown), 1 / max(1, len(log_probability)))
    depth = int(position.max(initial=0)) + 1
    if how.kind == "softmax":
        weight, higher = _gumbel_grid(shown, depth, _rates(log_probability, how))
    else:
        weight, higher = _normal_grid(shown, depth, log_probability, _spread(n_events, how))
    counts = _exactly(higher, shown, depth)[:, np.arange(len(shown)), position]
    told: Float64 = np.einsum("ta,ta->a", weight, counts)
    return told


def _exactly(higher: Float64, shown: Int64, depth: int) -> Float64:
    """P[exactly j of the items but a are higher], for j < depth, shape (t, k, depth).

    Args:
        higher: Probability of each item to be higher than t, independently, shape (t, n).
        shown: The items a, shape (k,).
        depth: Positions that matter.
    """
    k, rest = len(shown), np.setdiff1d(np.arange(higher.shape[1]), shown)
    found = np.zeros((len(higher), depth))
    found[:, 0] = 1.0
    for b in rest.tolist():
        _join(found, higher[:, b, None])
    each = np.repeat(found[:, None], k, axis=1)
    for row, b in enumerate(shown.tolist()):
        p = np.repeat(higher[:, b, None], k, axis=1)
        p[:, row] = 0.0  # nothing is above itself
        _join(each, p[:, :, None])
    return each


def _join(found: Float64, p: Float64) -> None:
    """Add an independent event to a distribution of their number (last axis), in place."""
    up = found[..., :-1] * p
    found *= 1 - p
    found[..., 1:] += up


def _rates(log_probability: Float64, how: Exploration) -> Float64:
    scaled = (log_probability - log_probability.max(initial=-np.inf)) / how.temperature
    floored: Float64 = np.maximum(scaled, _FLOOR)
    return floored


def _spread(n_events: Int64, how: Exploration) -> Float64:
    told = np.minimum(n_events, _MOST_EVENTS).astype(np.float64)
    return how.temperature / np.sqrt(1.0 + told)


def _gumbel_grid(shown: Int64, depth: int, rates: Float64) -> tuple[Float64, Float64]:
    """Weights (t, k) and chances to be higher (t, n) of Gumbel variables at ``rates``."""
    step = 0.25
    at = np.arange(_kth(rates, depth) - 4.0, 28.0 + np.log(len(rates)), step)
    ahead = np.exp(rates - at[:, None])  # (t, n)
    return step * ahead[:, shown] * np.exp(-ahead[:, shown]), -np.expm1(-ahead)


def _normal_grid(
    shown: Int64, depth: int, mean: Float64, spread: Float64
) -> tuple[Float64, Float64]:
    """The same of normal variables."""
    step, reach = spread.min() / 2, 7 * spread
    at = np.arange(_kth(mean - reach, depth), (mean + reach).max(), step)
    z = (at[:, None] - mean) / spread  # (t, n)
    density = np.exp(-(z[:, shown] ** 2) / 2) / np.sqrt(2 * np.pi) / spread[shown]
    return step * density, ndtr(-z)


def _kth(surely: Float64, k: int) -> float:
    """Below it, k items and one more are surely higher: nothing is left to integrate."""
    return float(np.sort(surely)[max(0, len(surely) - k - 1)])
