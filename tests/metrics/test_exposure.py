"""Exposure of rarer items by hand-made lists, and the gap between groups."""

import numpy as np
import pytest

from chronotope.metrics.exposure import list_exposure, position_weights, tail_items
from chronotope.metrics.group_gap import gap_growth

N_EVENTS = np.array([0, 50, 40, 3, 2, 1, 1, 1, 1, 1, 1])  # unknown, two popular, eight rare


def test_the_tail_are_all_items_but_the_most_popular_fifth() -> None:
    assert np.flatnonzero(tail_items(N_EVENTS)).tolist() == [3, 4, 5, 6, 7, 8, 9, 10]
    assert np.flatnonzero(tail_items(N_EVENTS[::-1].copy())).tolist() == [1, 2, 3, 4, 5, 6, 7, 10]


def test_positions_count_as_in_ndcg() -> None:
    weights = position_weights(3)
    assert weights == pytest.approx(np.array([1, 1 / np.log2(3), 0.5]) / (1.5 + 1 / np.log2(3)))


@pytest.mark.parametrize(
    ("lists", "share", "gini", "coverage"),
    [
        ([[1, 2], [1, 2]], 0.0, 0.823, 0.2),
        ([[3, 4], [5, 6]], 1.0, 0.645, 0.4),
        ([[3, 1], [5, 2]], 1 / (1 + 1 / np.log2(3)), 0.645, 0.4),
    ],
)
def test_exposure_of_lists(
    lists: list[list[int]], share: float, gini: float, coverage: float
) -> None:
    exposure = list_exposure(np.array(lists), np.array([1, 3]), np.array([1, 2]), N_EVENTS)
    assert exposure.tail_share.estimate == pytest.approx(share)
    assert exposure.tail_demand.estimate == 0.5
    assert exposure.gap.estimate == pytest.approx(0.5 - share)
    assert exposure.gini == pytest.approx(gini, abs=0.002)
    assert exposure.coverage == pytest.approx(coverage)
    assert sum(exposure.group_shares) == pytest.approx(1.0)
    assert exposure.group_demand[0] == 0.5


def test_popularity_lift_is_zero_for_lists_of_what_users_chose() -> None:
    chosen = np.array([1, 3])
    same = list_exposure(chosen[:, None], chosen, np.array([1, 2]), N_EVENTS)
    popular = list_exposure(np.array([[1], [1]]), chosen, np.array([1, 2]), N_EVENTS)
    assert same.popularity_lift == pytest.approx(0.0)
    assert popular.popularity_lift == pytest.approx(50 / 26.5 - 1)


def test_the_growth_of_a_gap_and_its_interval() -> None:
    rng = np.random.default_rng(1)
    users = np.arange(400)
    groups = users % 2
    before = rng.random(400)
    widened = before - 0.3 * groups
    growth = gap_growth(widened, before, users, groups)
    assert growth.low < growth.estimate < growth.high
    assert growth.low > 0.1
    same = gap_growth(before, before, users, groups)
    assert (same.estimate, same.low, same.high) == (0.0, 0.0, 0.0)
    ignored = np.where(groups == 1, -1, 0)
    assert gap_growth(widened, before, users, ignored).estimate == 0.0
