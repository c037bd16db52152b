import math

import numpy as np
import pytest

from chronotope.contracts.errors import DataError
from chronotope.metrics import bootstrap_interval, paired_difference


def test_interval_treats_the_user_as_the_unit():
    user = np.repeat(np.arange(20), 50)
    values = (user % 2).astype(float)
    clustered = bootstrap_interval(values, user)
    single = bootstrap_interval(values, np.arange(1000))
    standard_error = 0.5 / math.sqrt(20)
    width = clustered.high - clustered.low
    assert width == pytest.approx(2 * 1.96 * standard_error, rel=0.15)
    assert single.high - single.low < width / 4
    assert clustered.estimate == 0.5


def test_interval_depends_on_the_seed_alone():
    values, user = np.arange(30.0), np.arange(30) // 3
    assert bootstrap_interval(values, user, seed=1) == bootstrap_interval(values, user, seed=1)
    assert bootstrap_interval(values, user, seed=1) != bootstrap_interval(values, user, seed=2)


def test_a_real_difference_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    user, base = np.arange(600) // 4, rng.random(600)
    better = paired_difference(base + 0.1 + rng.normal(0, 0.1, 600), base, user)
    noise = paired_difference(base + rng.normal(0, 0.1, 600), base, user)
    assert better.low > 0.05
    assert better.p_value < 0.01
    assert noise.low < 0 < noise.high
    assert noise.p_value > 0.05


def test_p_values_are_uniform_when_nothing_differs():
    rng = np.random.default_rng(1)
    user = np.arange(120) // 4
    p = [
        paired_difference(rng.random(120), rng.random(120), user, n_resamples=200).p_value
        for _ in range(200)
    ]
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.11
    assert 0.4 < np.mean(p) < 0.6


def test_equal_models_have_p_one():
    same = paired_difference(np.ones(9), np.ones(9), np.arange(9))
    assert (same.estimate, same.p_value) == (0.0, 1.0)


def test_unpaired_or_no_values_are_refused():
    with pytest.raises(DataError, match="same targets"):
        paired_difference(np.ones(2), np.ones(3), np.ones(2))
    with pytest.raises(DataError, match="at least one"):
        bootstrap_interval(np.array([]), np.array([]))
