import math
from dataclasses import replace

import numpy as np
import pytest

from chronotope.contracts.errors import DataError
from chronotope.metrics.evaluate import EvaluationResult
from chronotope.metrics.summary import bootstrap_interval, paired_difference, summarise_metrics


def outcomes_of(rank, *, is_return, n_history):
    n = len(rank)
    return EvaluationResult(
        position=np.arange(n),
        user=np.ones(n, np.int32),
        rank=np.array(rank, float),
        is_return=np.array(is_return),
        n_history=np.array(n_history),
        is_cold_item=np.zeros(n, bool),
    )


def test_summary_by_hand(oracle):
    ranks = [1.0, 2.5, 10.5, 20.0]
    outcomes = outcomes_of(ranks, is_return=[True, True, False, False], n_history=[4, 5, 0, 9])
    summary = summarise_metrics(outcomes)
    assert [summary[f"acc_{k}"] for k in (1, 5, 10, 20)] == [0.25, 0.5, 0.5, 1.0]
    assert summary["mrr"] == pytest.approx((1 + 0.4 + 1 / 10.5 + 0.05) / 4)
    assert summary["ndcg_10"] == pytest.approx(oracle.ndcg(ranks, 10))
    assert (summary["return_acc_10"], summary["discovery_acc_10"]) == (1.0, 0.0)
    assert (summary["n_cold_user"], summary["cold_user_acc_10"]) == (2.0, 0.5)
    assert math.isnan(summary["cold_item_acc_10"])
    assert "coverage" not in summary


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
        paired_difference(rng.random(120), rng.random(120), user, n=200).p_value for _ in range(200)
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


def test_coverage_is_passed_on_if_it_was_measured():
    outcomes = outcomes_of([1.0], is_return=[True], n_history=[3])
    assert summarise_metrics(replace(outcomes, coverage=0.25))["coverage"] == 0.25
