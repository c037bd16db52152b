"""Distances on the local planes are those on the sphere, also at the poles and the date line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronotope.spacetime.distances import haversine_km
from chronotope.spacetime.local_planes import (
    KM_PER_LAT_DEG,
    KM_PER_LON_DEG,
    REGION_DISTANCE_KM,
    project_local_km,
)

CITIES = np.array(
    [[40.71, -74.01], [48.21, 16.37], [-36.85, 174.76], [64.15, -21.94], [35.68, 139.69]]
)
"""New York, Vienna, Auckland, Reykjavík, Tokyo."""


def around(centre: np.ndarray, n: int, spread_deg: float, seed: int = 0) -> np.ndarray:
    """Points around a centre; longitudes are wrapped to ±180°."""
    rng = np.random.default_rng(seed)
    lat = np.clip(centre[0] + spread_deg * rng.uniform(-1, 1, n), -90, 90)
    lon = centre[1] + spread_deg * rng.uniform(-1, 1, n) / max(0.01, np.cos(np.radians(lat[0])))
    return np.stack([lat, (lon + 180) % 360 - 180], axis=1)


def plane_km(points: np.ndarray) -> np.ndarray:
    projected = project_local_km(points[:, 0], points[:, 1])
    return np.linalg.norm(projected[:, None] - projected[None], axis=-1)


def sphere_km(points: np.ndarray) -> np.ndarray:
    lat, lon = points.T
    return haversine_km(lat=lat[:, None], lon=lon[:, None], to_lat=lat, to_lon=lon)


def test_a_city_lies_on_the_plane_around_its_mean() -> None:
    lat, lon = around(CITIES[0], 50, 0.3).T
    projected = project_local_km(lat, lon)
    np.testing.assert_array_equal(projected[:, 1], KM_PER_LAT_DEG * (lat - lat.mean()))
    scale = KM_PER_LON_DEG * np.cos(np.radians(lat.mean()))
    np.testing.assert_array_equal(projected[:, 0], scale * (lon - lon.mean()))


@pytest.mark.parametrize(
    "centre", [(90.0, 0.0), (-89.9, 50.0), (0.0, 180.0), (-17.8, 179.99), (75.0, -179.9)]
)
def test_poles_and_the_date_line_have_true_distances(centre: tuple[float, float]) -> None:
    points = around(np.array(centre), 40, 0.5)
    np.testing.assert_allclose(plane_km(points), sphere_km(points), rtol=0.01, atol=0.01)


def test_each_city_of_the_world_has_true_distances_and_the_others_are_far() -> None:
    groups = [around(centre, 30, 0.2, seed) for seed, centre in enumerate(CITIES)]
    points, city = np.concatenate(groups), np.repeat(np.arange(len(CITIES)), 30)
    distances, is_same = plane_km(points), city[:, None] == city
    np.testing.assert_allclose(
        distances[is_same], sphere_km(points)[is_same], rtol=0.005, atol=1e-6
    )
    assert distances[~is_same].min() > 0.9 * REGION_DISTANCE_KM


def test_many_regions_keep_metres_in_single_precision() -> None:
    rng = np.random.default_rng(0)
    centres = np.stack([rng.uniform(-60, 60, 40), rng.uniform(-180, 180, 40)], axis=1)
    points = np.concatenate([around(centre, 5, 0.02, seed) for seed, centre in enumerate(centres)])
    exact = project_local_km(points[:, 0], points[:, 1])
    assert np.abs(exact - exact.astype(np.float32)).max() < 0.01


def test_a_continent_without_a_gap_stays_one_region() -> None:
    lat, lon = np.meshgrid(np.arange(36.0, 60.0, 1.5), np.arange(-8.0, 40.0, 2.0))
    points = np.stack([lat.ravel(), lon.ravel()], axis=1)
    true_km = sphere_km(points)
    near = (true_km > 0) & (true_km < 300)
    np.testing.assert_allclose(plane_km(points)[near], true_km[near], rtol=0.1)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=12),
)
def test_any_points_have_finite_places_and_equal_points_the_same(
    points: list[tuple[float, float]],
) -> None:
    lat, lon = np.array(points + points[:1]).T
    projected = project_local_km(lat, lon)
    assert np.isfinite(projected).all()
    np.testing.assert_array_equal(projected[0], projected[-1])
