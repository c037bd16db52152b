"""Random lists and the exact propensity of each item in its position.

Every policy gives each item of the pool an independent random score and ranks by it:

- ``softmax``: log p_i / T plus a Gumbel variable, which is the Plackett-Luce model;
- ``thompson``: a normal variable around log p_i. n events determine the logarithm of a rate up
  to a standard deviation of 1 / sqrt(n), so its own is T / sqrt(1 + n_i), with n_i <= 99.

Item a is in position j if exactly j other items score higher. With density f_a and survival
functions S_b its propensity is ``integral f_a(t) P[exactly j of the S_b(t) come true] dt``.
The trapezoidal rule converges exponentially for these integrands: the error is below 1e-7.

Source: Plackett (1975), The Analysis of Permutations; Yellott (1977) for the Gumbel variables.
"""

import numpy as np
from scipy.special import ndtr

from chronotope.contracts.event_log import Float64, Int64
from chronotope.experiments.experiment import Exploration

MAX_DRAWN_ITEMS = 20
"""Longest list of ``softmax`` and ``thompson``: the cost of the integrals grows with its square."""

_MIN_LOG_RATE = -30.0  # relative to the most probable item
_MAX_COUNTED_EVENTS = 99  # more events do not narrow the distribution


def draw_positions(
    log_probability: Float64,
    n_events: Int64,
    k: int,
    exploration: Exploration,
    rng: np.random.Generator,
) -> Int64:
    """Pool positions of k drawn items, in the order shown, shape (k,).

    Args:
        log_probability: Of the pool's items, most probable first, shape (n,).
        n_events: Recent events of each item, shape (n,).
        k: Length of the list.
        exploration: The policy.
        rng: Random generator.
    """
    n_pool = len(log_probability)
    if exploration.kind == "uniform":
        return rng.permutation(n_pool)[:k]
    if exploration.kind == "softmax":
        random_scores = _log_rates(log_probability, exploration) + rng.gumbel(size=n_pool)
    else:
        random_scores = rng.normal(log_probability, _standard_deviations(n_events, exploration))
    return np.argsort(-random_scores, kind="stable")[:k]


def propensities(
    shown: Int64,
    position: Int64,
    log_probability: Float64,
    n_events: Int64,
    exploration: Exploration,
) -> Float64:
    """Probability that ``draw_positions`` puts items in positions, shape (k,).

    Args:
        shown: Pool positions of distinct items, shape (k,).
        position: List position of each item, from 0, shape (k,).
        log_probability: Of the pool's items, most probable first, shape (n,).
        n_events: Recent events of each item, shape (n,).
        exploration: The policy.
    """
    if exploration.kind == "uniform":
        return np.full(len(shown), 1 / max(1, len(log_probability)))
    depth = int(position.max(initial=0)) + 1
    if exploration.kind == "softmax":
        log_rates = _log_rates(log_probability, exploration)
        weights, higher = _gumbel_grid(shown, depth, log_rates)
    else:
        deviations = _standard_deviations(n_events, exploration)
        weights, higher = _normal_grid(shown, depth, log_probability, deviations)
    exact_counts = _exact_count_probabilities(higher, shown, depth)  # (t, k, depth)
    in_position = exact_counts[:, np.arange(len(shown)), position]  # (t, k)
    integrals: Float64 = np.einsum("tk,tk->k", weights, in_position)
    return integrals


def _exact_count_probabilities(higher: Float64, shown: Int64, depth: int) -> Float64:
    """P[exactly j of the items other than a are higher], for j < depth, shape (t, k, depth).

    Args:
        higher: Probability of each item to be higher than t, independently, shape (t, n).
        shown: The items a, shape (k,).
        depth: Number of positions.
    """
    n_shown, other_items = len(shown), np.setdiff1d(np.arange(higher.shape[1]), shown)
    count_probabilities = np.zeros((len(higher), depth))
    count_probabilities[:, 0] = 1.0
    for pool_idx in other_items.tolist():
        _add_event(count_probabilities, higher[:, pool_idx, None])
    per_item = np.repeat(count_probabilities[:, None], n_shown, axis=1)  # (t, k, depth)
    for row, pool_idx in enumerate(shown.tolist()):
        event_probability = np.repeat(higher[:, pool_idx, None], n_shown, axis=1)  # (t, k)
        event_probability[:, row] = 0.0  # an item is not higher than itself
        _add_event(per_item, event_probability[:, :, None])
    return per_item


def _add_event(count_probabilities: Float64, event_probability: Float64) -> None:
    """Add an independent event to a distribution of counts (last axis), in place."""
    increment = count_probabilities[..., :-1] * event_probability
    count_probabilities *= 1 - event_probability
    count_probabilities[..., 1:] += increment


def _log_rates(log_probability: Float64, exploration: Exploration) -> Float64:
    relative = log_probability - log_probability.max(initial=-np.inf)
    log_rates: Float64 = np.maximum(relative / exploration.temperature, _MIN_LOG_RATE)
    return log_rates


def _standard_deviations(n_events: Int64, exploration: Exploration) -> Float64:
    counted_events = np.minimum(n_events, _MAX_COUNTED_EVENTS).astype(np.float64)
    return exploration.temperature / np.sqrt(1.0 + counted_events)


def _gumbel_grid(shown: Int64, depth: int, log_rates: Float64) -> tuple[Float64, Float64]:
    """Integration weights (t, k) and survival functions (t, n) of Gumbel variables."""
    step_size = 0.25
    grid = np.arange(_lower_bound(log_rates, depth) - 4.0, 28.0 + np.log(len(log_rates)), step_size)
    hazard = np.exp(log_rates - grid[:, None])  # (t, n)
    return step_size * hazard[:, shown] * np.exp(-hazard[:, shown]), -np.expm1(-hazard)


def _normal_grid(
    shown: Int64, depth: int, mean: Float64, deviation: Float64
) -> tuple[Float64, Float64]:
    """Integration weights (t, k) and survival functions (t, n) of normal variables."""
    step_size, reach = deviation.min() / 2, 7 * deviation
    grid = np.arange(_lower_bound(mean - reach, depth), (mean + reach).max(), step_size)
    z_scores = (grid[:, None] - mean) / deviation  # (t, n)
    density = np.exp(-(z_scores[:, shown] ** 2) / 2) / np.sqrt(2 * np.pi) / deviation[shown]
    return step_size * density, ndtr(-z_scores)


def _lower_bound(item_minima: Float64, k: int) -> float:
    """Lower integration bound: below it k + 1 items are higher, so the integrand is zero."""
    return float(np.sort(item_minima)[max(0, len(item_minima) - k - 1)])
