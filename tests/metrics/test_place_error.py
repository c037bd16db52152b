import math

import numpy as np
import pytest

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Catalog
from chronotope.contracts.ids import IdMap
from chronotope.metrics import evaluate_place

DEGREE_KM = 111.195  # one degree of latitude on a sphere of radius 6371.0088 km


@pytest.fixture
def catalog():
    """Places 1, 2 and 3 at latitude 0, 1 and 3; place 4 is nowhere."""
    places, none = IdMap.of(["a", "b", "c", "d"]), IdMap.of([])
    lat = np.array([np.nan, 0.0, 1.0, 3.0, np.nan])
    unlocated = np.full(none.size, np.nan)
    return Catalog(
        users=none,
        items=none,
        places=places,
        categories=none,
        item_category=np.zeros(none.size, np.int32),
        item_lat=unlocated,
        item_lon=unlocated,
        place_lat=lat,
        place_lon=np.where(np.isnan(lat), np.nan, 0.0),
    )


def test_accuracy_and_median_by_hand(catalog):
    scores = evaluate_place(np.array([1, 1, 1, 4]), np.array([1, 2, 3, 1]), catalog)
    assert scores.accuracy == 0.25
    assert scores.median_km == pytest.approx(DEGREE_KM, rel=1e-4)
    assert (scores.n_targets, scores.n_located) == (4, 3)


def test_without_coordinates_there_is_no_distance(catalog):
    scores = evaluate_place(np.array([4]), np.array([4]), catalog)
    assert scores.accuracy == 1.0
    assert math.isnan(scores.median_km)


def test_no_targets_are_refused(catalog):
    with pytest.raises(DataError, match="at least one"):
        evaluate_place(np.array([], int), np.array([], int), catalog)
