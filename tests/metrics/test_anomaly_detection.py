"""AUROC and average precision beside scikit-learn; precision of a daily budget by hand."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from chronotope.metrics.anomaly_detection import (
    ScoredEvents,
    auroc,
    average_precision,
    card_precision,
)


@pytest.mark.parametrize("n_scores", [5, 1_000_000])  # with and without ties
def test_metrics_equal_those_of_scikit_learn(n_scores: int) -> None:
    rng = np.random.default_rng(0)
    is_anomalous, scores = rng.random(500) < 0.2, rng.integers(0, n_scores, 500).astype(float)
    assert auroc(is_anomalous, scores) == pytest.approx(roc_auc_score(is_anomalous, scores))
    expected = average_precision_score(is_anomalous, scores)
    assert average_precision(is_anomalous, scores) == pytest.approx(expected)


def test_one_kind_of_events_has_no_metric() -> None:
    assert np.isnan(auroc(np.zeros(3, bool), np.arange(3.0)))
    assert np.isnan(average_precision(np.zeros(3, bool), np.arange(3.0)))


def test_detected_cards_are_removed_from_later_days() -> None:
    events = ScoredEvents(
        user_idx=np.array([1, 1, 2, 3, 1, 2, 3]),
        day=np.array([0, 0, 0, 0, 1, 1, 1]),
        is_anomalous=np.array([True, False, False, True, True, True, False]),
        scores=np.array([0.9, 0.95, 0.5, 0.1, 0.99, 0.8, 0.7]),
    )
    # day 0: users 1 and 2, one compromised; day 1: users 2 and 3, as 1 was detected
    assert card_precision(events, 2) == pytest.approx((1 / 2 + 1 / 2) / 2)
