"""Temperature, and the confidence that gives a wanted precision."""

import numpy as np
import pytest

from chronotope.content.labels.calibration import ValidationConfidence, fit_temperature


def test_the_temperature_undoes_the_overconfidence_of_scaled_logits() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4_000, 4))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    label_idx = np.array([rng.choice(4, p=row) for row in shares])
    assert fit_temperature(3 * logits, label_idx, np.ones(4_000)) == pytest.approx(3.0, rel=0.1)


def test_the_threshold_is_the_lowest_confidence_of_the_wanted_precision() -> None:
    confidence = np.linspace(1, 0.01, 100).astype(np.float32)
    is_right = np.arange(100) < 50
    validation = ValidationConfidence(confidence, is_right)
    threshold = validation.threshold(0.8)
    assert threshold == pytest.approx(confidence[61])  # 50 of 62 are right, 50 of 63 are .794
    assert threshold is not None
    assert validation.precision(threshold) >= 0.8
    assert validation.coverage(threshold) == pytest.approx(0.62)


def test_items_of_equal_confidence_are_taken_together_or_not_at_all() -> None:
    confidence = np.full(100, 0.5, dtype=np.float32)
    is_right = np.arange(100) < 60
    assert ValidationConfidence(confidence, is_right).threshold(0.9) is None
    assert ValidationConfidence(confidence, is_right).threshold(0.6) == pytest.approx(0.5)


def test_a_few_lucky_items_give_no_threshold() -> None:
    validation = ValidationConfidence(np.full(19, 0.9, np.float32), np.ones(19, np.bool_))
    assert validation.threshold(0.5) is None
    assert np.isnan(validation.precision(0.95))
    assert ValidationConfidence(np.array([], np.float32), np.array([], bool)).coverage(0.5) == 0
