"""Macro-F1 against scikit-learn's, and the pairs of labels that are confused most."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from chronotope.metrics.classification import ConfusedLabels, macro_f1, most_confused

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


@given(pairs)
def test_macro_f1_is_that_of_scikit_learn_over_the_true_labels(rows: list[tuple[int, int]]) -> None:
    true_idx, predicted_idx = np.array(rows, dtype=np.int64).T
    expected = f1_score(
        true_idx, predicted_idx, labels=np.unique(true_idx), average="macro", zero_division=0
    )
    assert macro_f1(true_idx, predicted_idx) == pytest.approx(expected)


@given(pairs)
def test_a_row_of_weight_two_counts_as_two_rows(rows: list[tuple[int, int]]) -> None:
    true_idx, predicted_idx = np.array(rows, dtype=np.int64).T
    twice = macro_f1(np.append(true_idx, true_idx[0]), np.append(predicted_idx, predicted_idx[0]))
    weights = np.ones(len(true_idx))
    weights[0] = 2
    assert macro_f1(true_idx, predicted_idx, weights=weights) == pytest.approx(twice)


def test_without_rows_it_is_not_a_number() -> None:
    nothing = np.array([], dtype=np.int64)
    assert np.isnan(macro_f1(nothing, nothing))


def test_confused_pairs_come_most_frequent_first_and_right_ones_are_left_out() -> None:
    true_idx, predicted_idx = np.array([0, 0, 1, 1, 1, 2]), np.array([1, 1, 0, 1, 1, 2])
    assert most_confused(true_idx, predicted_idx, ["tea", "rye", "bun"]) == (
        ConfusedLabels("tea", "rye", 2),
        ConfusedLabels("rye", "tea", 1),
    )
    assert most_confused(true_idx, true_idx, ["tea", "rye", "bun"]) == ()
