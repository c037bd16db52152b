"""Distances against published values."""

import numpy as np
import pytest

from chronotope.spacetime.distances import haversine_km

# Great Circle Mapper (gcmap.com, WGS 84 ellipsoid); a sphere differs by up to 0.5 %.
PUBLISHED_KM = [
    ((40.639751, -73.778925), (51.4706, -0.461941), 5540.0),  # JFK - LHR
    ((33.942536, -118.408075), (-33.946111, 151.177222), 12051.0),  # LAX - SYD
    ((35.764722, 140.386389), (37.618972, -122.374889), 8221.0),  # NRT - SFO, over 180°
]


@pytest.mark.parametrize(("start", "end", "expected"), PUBLISHED_KM)
def test_matches_published_distances(
    start: tuple[float, float], end: tuple[float, float], expected: float
) -> None:
    found = haversine_km(lat=start[0], lon=start[1], to_lat=end[0], to_lon=end[1])
    assert float(found) == pytest.approx(expected, rel=5e-3)


def test_broadcasts_and_keeps_nan() -> None:
    found = haversine_km(lat=[[0.0], [np.nan]], lon=0.0, to_lat=[0.0, 1.0], to_lon=0.0)
    assert found.shape == (2, 2)
    assert found[0, 0] == 0
    assert found[0, 1] == pytest.approx(111.195, abs=0.01)
    assert np.isnan(found[1]).all()
