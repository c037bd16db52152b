"""What the report draws of the holdout: coverage of intervals and spots on the map."""

from dataclasses import replace

import numpy as np
import pytest

from chronotope.metrics import BASKET_METRICS, EvaluationResult, LognormalMixture
from chronotope.pipelines.evaluate_holdout import (
    INTERVAL_LEVELS,
    LAST_PLACE,
    evaluate_places,
    interval_coverage,
    map_points,
    new_only_ndcg,
)
from chronotope.testing.recommender_suite import N_ITEMS, sample_catalog


@pytest.mark.parametrize(("width", "sign"), [(1.0, 0), (0.5, -1), (2.0, 1)])
def test_only_an_honest_forecast_is_covered_as_it_says(width: float, sign: int) -> None:
    rng = np.random.default_rng(3)
    hours = np.exp(rng.normal(1.0, 1.0, 20_000))  # truth: lognormal, mu 1, sigma 1
    told = np.ones((len(hours), 1))
    found = interval_coverage(LognormalMixture(0 * told, told, width * told), hours)
    assert tuple(level for level, _ in found) == INTERVAL_LEVELS == (0.5, 0.8, 0.95)
    off = [0 if abs(actual - level) < 0.02 else np.sign(actual - level) for level, actual in found]
    assert off == [sign] * 3


def test_a_spot_holds_the_targets_of_its_item_and_no_item_without_a_place_is_one() -> None:
    catalog = sample_catalog()
    lat, lon = np.full(N_ITEMS + 1, 10.0), np.arange(N_ITEMS + 1.0)
    lat[2] = np.nan
    placed = replace(catalog, item_lat=lat, item_lon=lon)
    items = np.array([1, 1, 1, 2, 4], np.int32)
    found = map_points(items, np.array([1.0, 0.0, 0.0, 1.0, 1.0]), placed)
    assert found == pytest.approx(np.array([[10, 1, 3, 1 / 3], [10, 4, 1, 1.0]]))


def test_places_are_judged_where_they_are_known() -> None:
    catalog, n = sample_catalog(), sample_catalog().n_places
    lat = np.arange(n) / 100.0  # a hundredth of a degree is 1.11 km
    placed = replace(catalog, place_lat=lat, place_lon=np.zeros(n))
    true = np.array([1, 2, 0, 4], np.int32)
    told = {"model": np.array([1, 2, 3, 5]), LAST_PLACE: np.array([3, 4, 3, 4])}
    found = evaluate_places(told, true, placed)
    assert [of.n_targets for of in found.values()] == [3, 3]
    assert found["model"].accuracy == pytest.approx(2 / 3)
    assert found["model"].median_km == 0.0
    assert found[LAST_PLACE].median_km == pytest.approx(2.22, abs=0.01)
    assert evaluate_places(told, np.zeros(4, np.int32), placed) == {}


def test_returns_have_no_ndcg_among_new_items() -> None:
    ranks = np.array([1.0, 3.0, 40.0])
    evaluation = EvaluationResult(
        position=np.arange(3),
        user=np.ones(3, np.int32),
        rank=ranks,
        is_return=np.array([False, True, False]),
        n_history=np.full(3, 9),
        is_cold_item=np.zeros(3, np.bool_),
        new_only_rank=np.array([1.0, np.nan, 11.0]),
        basket_size=np.ones(3, np.int64),
        next_basket=np.ones((3, len(BASKET_METRICS))),
    )
    values = new_only_ndcg(evaluation)
    assert values[[0, 2]].tolist() == [1.0, 0.0]
    assert np.isnan(values[1])
