"""Propensities are the frequencies with which the policy shows items where it does."""

import numpy as np
import pytest

from chronotope.experiments.experiment import Exploration
from chronotope.serving.model.exploration import draw_positions, propensities

N, K = 6, 4
LOG_P = np.log(np.array([0.4, 0.25, 0.2, 0.1, 0.04, 0.01]))
EVENTS = np.array([400, 0, 3, 50, 1, 0])
POLICIES = [
    Exploration(kind="uniform"),
    Exploration(kind="softmax"),
    Exploration(kind="softmax", temperature=3),
    Exploration(kind="thompson"),
    Exploration(kind="thompson", temperature=4),
]


def table(how: Exploration, log_p: np.ndarray, events: np.ndarray, k: int) -> np.ndarray:
    """Propensity of every item at every position, shape (n, k)."""
    told = np.empty((len(log_p), k))
    for n in range(len(log_p)):
        shown = (n + np.arange(k)) % len(log_p)
        told[shown, np.arange(k)] = propensities(shown, np.arange(k), log_p, events, how)
    return told


@pytest.mark.parametrize("how", POLICIES, ids=str)
def test_they_are_the_frequencies(how: Exploration) -> None:
    rng, n, counts = np.random.default_rng(0), 8_000, np.zeros((N, K))
    for _ in range(n):
        counts[draw_positions(LOG_P, EVENTS, K, how, rng), np.arange(K)] += 1
    told = table(how, LOG_P, EVENTS, K)
    error = np.sqrt(told * (1 - told) / n)
    assert (np.abs(counts / n - told) < 4.5 * error + 1e-9).all()


@pytest.mark.parametrize("how", POLICIES, ids=str)
def test_something_stands_in_every_position(how: Exploration) -> None:
    rng = np.random.default_rng(1)
    score = np.sort(rng.normal(0, 3, 40))[::-1]
    told = table(how, score, rng.integers(0, 200, 40), 8)
    assert told.sum(axis=0) == pytest.approx(np.ones(8), abs=1e-7)
    assert (told.sum(axis=1) < 1 + 1e-7).all()


def test_softmax_is_plackett_luce() -> None:
    p = np.exp(LOG_P)
    told = table(POLICIES[1], LOG_P, EVENTS, 2)
    second = [sum(p[i] * p[j] / (1 - p[i]) for i in range(N) if i != j) for j in range(N)]
    assert told[:, 0] == pytest.approx(p, abs=1e-9)
    assert told[:, 1] == pytest.approx(second, abs=1e-9)


def test_extreme_scores_are_no_trouble() -> None:
    score = np.array([0.0, -1e-9, -700.0])
    for kind in ("softmax", "thompson"):
        told = table(Exploration(kind=kind), score, np.zeros(3, np.int64), 3)
        assert np.isfinite(told).all()
        assert told.sum(axis=0) == pytest.approx(np.ones(3), abs=1e-7)


def test_what_is_little_known_is_explored_more() -> None:
    score, events = np.log(np.full(4, 0.25)) - np.array([0, 1, 1, 1]), np.array([99, 99, 0, 9])
    first = table(Exploration(kind="thompson"), score, events, 1)[:, 0]
    assert first[2] > first[3] > first[1]


@pytest.mark.parametrize("how", POLICIES, ids=str)
def test_an_item_has_its_propensity_whatever_else_is_asked_about(how: Exploration) -> None:
    told = table(how, LOG_P, EVENTS, K)
    some = propensities(np.array([4, 1]), np.array([3, 0]), LOG_P, EVENTS, how)
    assert some == pytest.approx([told[4, 3], told[1, 0]], rel=1e-6)
    none = np.empty(0, np.int64)
    assert len(propensities(none, none, LOG_P, EVENTS, how)) == 0
