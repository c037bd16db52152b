"""Divergences against values by hand and against SciPy."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from chronotope.validation.divergence import first_window, jensen_shannon, stability_index

P, Q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])


def test_the_stability_index_by_hand() -> None:
    # .3 ln 2.5 + .1 ln 1.5 + .4 ln 3
    assert stability_index(P, Q) == pytest.approx(0.7548784, abs=1e-6)
    assert stability_index(P, Q) == pytest.approx(entropy(P, Q) + entropy(Q, P))
    assert stability_index(P, P) == 0


def test_an_empty_bin_counts_as_one_in_ten_thousand() -> None:
    expected = (1 - 0.5) * np.log(1 / 0.5) + (1e-4 - 0.5) * np.log(1e-4 / 0.5)
    assert stability_index([1.0, 0.0], [0.5, 0.5]) == pytest.approx(expected)


def test_jensen_shannon_by_hand_and_by_scipy() -> None:
    # m = (3/4, 1/4): (ln 4/3) / 2 + (1/2 ln 2/3 + 1/2 ln 2) / 2
    half = np.log(4 / 3) / 2 + (np.log(2 / 3) + np.log(2)) / 4
    assert jensen_shannon([1.0, 0.0], [0.5, 0.5]) == pytest.approx(half)
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(7), 20), rng.dirichlet(np.ones(7), 20)
    p[:, 0] = 0
    p /= p.sum(axis=1, keepdims=True)
    expected = [jensenshannon(a, b) ** 2 for a, b in zip(p, q, strict=True)]
    assert jensen_shannon(p, q) == pytest.approx(expected)
    assert jensen_shannon(p, q) == pytest.approx(jensen_shannon(q, p))


def test_many_windows_at_once_are_each_alone() -> None:
    p = np.stack([P, Q, P])
    assert stability_index(p, P).tolist() == [0, stability_index(Q, P), 0]
    assert jensen_shannon(p, Q)[1] == 0


def test_the_first_window_of_each_code() -> None:
    codes, window = np.array([2, 0, 2, 0]), np.array([5, -1, 3, 4])
    first = first_window(codes, window)
    assert (first[0], first[2]) == (-1, 3)
    assert first[1] > 10**9
    assert len(first_window(codes[:0], window[:0])) == 0
