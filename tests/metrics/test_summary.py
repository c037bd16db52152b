import math
from dataclasses import replace

import numpy as np
import pytest

from chronotope.metrics import BASKET_METRICS, EvaluationResult, summarise_metrics


def outcomes_of(rank, *, is_return, n_history):
    n = len(rank)
    return EvaluationResult(
        position=np.arange(n),
        user=np.ones(n, np.int32),
        rank=np.array(rank, float),
        is_return=np.array(is_return),
        n_history=np.array(n_history),
        is_cold_item=np.zeros(n, bool),
        new_only_rank=np.where(is_return, np.nan, np.array(rank) - 1.0),
        basket_size=np.ones(n, np.int64),
        next_basket=np.ones((n, len(BASKET_METRICS))),
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
    assert summary["new_only_acc_10"] == 0.5  # ranks 9.5 and 19 among new items
    assert summary["new_only_ndcg_10"] == pytest.approx(oracle.ndcg([9.5, 19.0], 10))


def test_returns_alone_have_no_metric_among_new_items():
    summary = summarise_metrics(outcomes_of([1.0], is_return=[True], n_history=[3]))
    assert math.isnan(summary["new_only_acc_10"])


def test_coverage_is_passed_on_if_it_was_measured():
    outcomes = outcomes_of([1.0], is_return=[True], n_history=[3])
    assert summarise_metrics(replace(outcomes, coverage=0.25))["coverage"] == 0.25
