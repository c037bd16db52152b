import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.errors import DataError
from chronotope.metrics import expected_rank, hit_rate, ndcg, reciprocal_rank


@given(st.lists(st.integers(0, 3), min_size=2, max_size=6), st.data())
def test_rank_is_the_mean_over_all_orders_the_scores_allow(oracle, scores, data):
    target = data.draw(st.integers(1, len(scores) - 1))
    expected = oracle.rank_by_permutation(scores, target)
    assert expected_rank(np.array([scores], float), np.array([target]))[0] == expected


def test_constant_scores_give_the_middle_and_the_unknown_does_not_count():
    scores = np.zeros((2, 10))
    scores[1, 0] = 99.0
    assert expected_rank(scores, np.array([1, 9])).tolist() == [5.0, 5.0]


def test_infinite_scores_are_ranked():
    scores = np.array([[0.0, -np.inf, 1.0, -np.inf]])
    assert expected_rank(scores, np.array([3])).tolist() == [2.5]


@pytest.mark.parametrize(
    ("scores", "target"),
    [([[0.0, np.nan, 1.0]], [2]), ([[0.0, 1.0]], [0]), ([[0.0, 1.0]], [2]), ([[0.0, 1.0]], [1, 1])],
)
def test_what_cannot_be_ranked_is_refused(scores, target):
    with pytest.raises(DataError, match="Received"):
        expected_rank(np.array(scores), np.array(target))


def test_no_targets_have_no_ranks():
    assert expected_rank(np.zeros((0, 5)), np.zeros(0, int)).shape == (0,)


def test_metrics_of_a_rank_by_hand():
    ranks = np.array([1.0, 2.5, 10.0, 10.5])
    assert hit_rate(ranks, 10).tolist() == [1.0, 1.0, 1.0, 0.0]
    assert ndcg(ranks, 10).tolist() == [1.0, 1 / np.log2(3.5), 1 / np.log2(11), 0.0]
    assert reciprocal_rank(ranks).tolist() == [1.0, 0.4, 0.1, 1 / 10.5]
