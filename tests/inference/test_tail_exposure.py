"""Rarer items rise for users who choose them, and nothing changes without strength."""

import numpy as np
import pytest

from chronotope.inference.ranking import DenseRanking
from chronotope.inference.rerank import expose_tail, own_tail_share
from chronotope.serving.model.tail_exposure import NO_TAIL_EXPOSURE, TailExposure

COUNTS = np.array([0, 90, 5, 1, 1, 1])
IS_TAIL = np.array([False, False, True, True, True, True])
POOL, SCORES = np.array([1, 2, 3]), np.array([-0.5, -1.0, -2.0])


def test_a_bonus_moves_the_tail_up_and_scores_stay_true() -> None:
    unchanged = expose_tail(POOL, SCORES, IS_TAIL, 0.5, 2, 0.0)
    assert unchanged.items.tolist() == [1, 2]
    moved = expose_tail(POOL, SCORES, IS_TAIL, 0.5, 2, 2.0)
    assert moved.items.tolist() == [2, 1]
    assert moved.scores.tolist() == [-1.0, -0.5]
    assert expose_tail(POOL, SCORES, IS_TAIL, 1.0, 2, 9.0).items.tolist() == [2, 3]


def test_the_own_share_is_shrunk_to_that_of_all_events() -> None:
    all_share = 8 / 98
    assert own_tail_share(np.array([], np.int64), IS_TAIL, COUNTS) == pytest.approx(all_share)
    own = own_tail_share(np.full(95, 3), IS_TAIL, COUNTS)
    assert own == pytest.approx((95 + 5 * all_share) / 100)


def test_users_of_rare_items_get_them_and_others_do_not() -> None:
    log_probability = np.log(np.array([0.0, 0.5, 0.3, 0.1, 0.06, 0.04]) + 1e-9)
    ranking = DenseRanking(log_probability, np.arange(6) > 0)
    explorer = TailExposure.of(1.0, COUNTS, np.full(50, 3))
    follower = TailExposure.of(1.0, COUNTS, np.full(50, 1))
    assert explorer.best(ranking, 3).items.tolist() == [2, 1, 3]
    assert follower.best(ranking, 3).items.tolist() == [1, 2, 3]
    assert NO_TAIL_EXPOSURE.best(ranking, 2).items.tolist() == [1, 2]
    assert explorer.policy == "tail 1"
