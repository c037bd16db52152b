"""Diverse lists: nothing changes at 0, and more of it is more diverse."""

import numpy as np
import pytest

from chronotope.contracts.ids import IdMap
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.inference.rerank import can_differ, diversify, similarity

POOL = np.array([3, 1, 4, 2, 5])
SCORE = np.array([-np.inf, -2.0, -4.0, -1.0, -3.0, -5.0])


def facts(categories: list[int], lat: list[float] | None = None) -> ItemMetadata:
    where = np.array([np.nan, *(lat or [np.nan] * 5)])
    kinds = np.array([0, *categories], np.int32)
    lon = np.where(np.isnan(where), np.nan, 0.0)
    return ItemMetadata(where, lon, where, lon, IdMap.of(["a", "b", "c"]), kinds)


ALIKE = facts([1, 2, 1, 1, 3])  # items 1, 3 and 4 are of one kind


def test_none_is_the_models_own_order() -> None:
    assert diversify(POOL, SCORE[POOL], ALIKE, 4, 0.0).tolist() == [3, 1, 4, 2]


def test_the_likeliest_comes_first_and_then_other_kinds() -> None:
    assert diversify(POOL, SCORE[POOL], ALIKE, 3, 1.0).tolist() == [3, 2, 5]
    assert diversify(POOL, SCORE[POOL], ALIKE, 5, 0.3).tolist() == [3, 1, 2, 4, 5]


def test_it_is_the_greedy_maximum_of_its_formula() -> None:
    d, chosen = 0.4, [0]
    relevance = (SCORE[POOL] + 5) / 4
    for _ in range(3):
        worst = [max(similarity(POOL, int(POOL[j]), ALIKE)[i] for j in chosen) for i in range(5)]
        gain = (1 - d) * relevance - d * np.array(worst)
        chosen.append(max((i for i in range(5) if i not in chosen), key=lambda i: gain[i]))
    assert diversify(POOL, SCORE[POOL], ALIKE, 4, d).tolist() == POOL[chosen].tolist()


def test_more_diversity_makes_neighbours_less_alike() -> None:
    rng = np.random.default_rng(0)
    n = 200
    where = np.r_[np.nan, rng.uniform(40, 40.2, n)]
    kinds = np.r_[0, rng.integers(1, 13, n)].astype(np.int32)
    told = ItemMetadata(where, where, where, where, IdMap.of(list("abcdefghijkl")), kinds)
    score = np.r_[-np.inf, -np.arange(n) / 20]
    pool = np.arange(1, 101)
    alike = []
    for d in (0.0, 0.3, 0.6, 1.0):
        items = diversify(pool, score[pool], told, 10, d)
        assert len(set(items.tolist())) == 10
        alike.append(np.mean([np.sort(similarity(items, int(i), told))[-2] for i in items]))
    assert alike == sorted(alike, reverse=True)
    assert alike[-1] < alike[0] - 0.1


def test_nearness_is_in_kilometres_and_unknown_is_unlike() -> None:
    told = facts([1, 1, 2, 0, 0], [40.0, 40.0, 40.0, np.nan, 40.0 + 1 / 111.195])
    found = similarity(np.array([2, 3, 4, 5]), 1, told)
    assert found == pytest.approx([1.0, 0.5, 0.0, np.exp(-1)], abs=1e-3)


def test_short_and_equal_pools() -> None:
    assert diversify(POOL[:0], SCORE[:0], ALIKE, 3, 0.5).tolist() == []
    assert diversify(POOL[:1], SCORE[:1], ALIKE, 3, 0.5).tolist() == [3]
    assert diversify(POOL, np.zeros(5), ALIKE, 9, 0.5).tolist() == [3, 2, 5, 1, 4]
    assert can_differ(POOL, ALIKE)
    assert not can_differ(POOL, facts([0] * 5))
