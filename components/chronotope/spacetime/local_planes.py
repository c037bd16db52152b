"""Kilometres on planes that are local to where the points are.

Points of one city or country lie on one plane around their mean. A log that spans the world has no
such plane: the length of a degree of longitude changes with latitude, and ends at the date line and
the poles. Its points are divided into regions, groups with a gap of some hundred kilometres around
them; each region has a plane of its own, the azimuthal equidistant projection around its centre,
and the planes lie far apart. Distances within a region are those on the sphere, to a few percent
near the centre; distances between regions are only known to be large.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from chronotope.contracts.event_log import Float64
from chronotope.spacetime.distances import EARTH_RADIUS_KM

KM_PER_LAT_DEG: Final = 110.57
KM_PER_LON_DEG: Final = 111.32
"""Lengths of a degree around the mean: of latitude, and of longitude at the equator."""

MAX_SPAN_DEG: Final = 10.0
"""Largest span of latitudes and longitudes that lies on one plane."""

MAX_PLANE_LAT_DEG: Final = 70.0
"""Latitude beyond which a degree of longitude shrinks too fast for one plane."""

GAP_KM: Final = 300.0
"""Gap between regions: nearer points are of one region."""

REGION_DISTANCE_KM: Final = 20_000.0
"""Distance of the centres of two planes: half the circumference of the earth."""


def project_local_km(lat_deg: Float64, lon_deg: Float64) -> Float64:
    """Kilometres to the east and north of known points, shape (n, 2).

    Args:
        lat_deg: Latitudes WGS 84, shape (n,), all finite.
        lon_deg: Longitudes, shape (n,), all finite.
    """
    if is_local(lat_deg, lon_deg):
        return _one_plane(lat_deg, lon_deg)
    row_vectors = _unit_vectors(lat_deg, lon_deg)
    region = _regions(row_vectors)
    projected = np.zeros((len(lat_deg), 2))
    sizes = np.bincount(region)
    for centre, region_idx in zip(_centres(len(sizes)), np.argsort(-sizes), strict=True):
        is_inside = region == region_idx
        projected[is_inside] = _azimuthal_km(row_vectors[is_inside]) + centre
    return projected


def plane_km(lat_deg: Float64, lon_deg: Float64, origin_deg: tuple[float, float]) -> Float64:
    """Equirectangular kilometres to the east and north of an origin, shape (n, 2).

    Args:
        lat_deg: Latitudes WGS 84, shape (n,); NaN if unknown.
        lon_deg: Longitudes, shape (n,); NaN if unknown.
        origin_deg: Latitude and longitude of the origin.

    Example:
        >>> plane_km(np.array([1.0]), np.array([2.0]), (0.0, 0.0)).round(1).tolist()
        [[222.6, 110.6]]
    """
    lat, lon = origin_deg
    y = KM_PER_LAT_DEG * (lat_deg - lat)
    x = KM_PER_LON_DEG * np.cos(np.radians(lat)) * (lon_deg - lon)
    return np.stack([x, y], axis=1)


def _centres(n_regions: int) -> Float64:
    """Centres of the planes on a square grid, the one at the origin first, shape (n, 2).

    Tables hold kilometres as float32, whose resolution is some metres there and falls outwards, so
    the regions with most points come first.
    """
    half = int(np.ceil(np.sqrt(n_regions))) // 2 + 1
    side = np.arange(-half, half + 1, dtype=np.float64)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    nearest = np.argsort(np.abs(grid).max(axis=1), kind="stable")[:n_regions]
    return REGION_DISTANCE_KM * grid[nearest]


def is_local(lat_deg: Float64, lon_deg: Float64) -> bool:
    """Whether one plane around the mean is accurate for all points.

    Args:
        lat_deg: Latitudes WGS 84, shape (n,), all finite.
        lon_deg: Longitudes, shape (n,), all finite.
    """
    is_narrow = max(np.ptp(lat_deg), np.ptp(lon_deg)) <= MAX_SPAN_DEG
    return bool(is_narrow and np.abs(lat_deg).max() <= MAX_PLANE_LAT_DEG)


def _one_plane(lat_deg: Float64, lon_deg: Float64) -> Float64:
    """Equirectangular kilometres around the mean."""
    return plane_km(lat_deg, lon_deg, (float(lat_deg.mean()), float(lon_deg.mean())))


def _unit_vectors(lat_deg: Float64, lon_deg: Float64) -> Float64:
    """Directions from the centre of the earth, shape (n, 3)."""
    lat, lon = np.radians(lat_deg), np.radians(lon_deg)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def _regions(vectors: Float64) -> npt.NDArray[np.integer]:
    """Region of each point: connected over steps of at most about ``GAP_KM``, shape (n,).

    Points are first gathered in cubes of a third of the gap, so that the number of pairs stays
    small where many lie close together.
    """
    cube = np.floor(vectors * EARTH_RADIUS_KM / (GAP_KM / 3.0)).astype(np.int64)
    cubes, cube_idx = np.unique(cube, axis=0, return_inverse=True)
    pairs = cKDTree(cubes).query_pairs(3.0, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(cubes),) * 2)
    region_of_cube = connected_components(links, directed=False)[1]
    return np.asarray(region_of_cube[cube_idx.ravel()])


def _azimuthal_km(vectors: Float64) -> Float64:
    """Azimuthal equidistant kilometres around the mean direction, shape (n, 2).

    Source:
        Snyder (1987), Map Projections: A Working Manual, p. 195.
    """
    mean = vectors.mean(axis=0)
    length = float(np.linalg.norm(mean))
    centre = mean / length if length > 1e-9 else vectors[0]
    east = np.cross([0.0, 0.0, 1.0], centre)
    if np.linalg.norm(east) < 1e-9:  # the centre is a pole, where every direction is south or north
        east = np.array([0.0, 1.0, 0.0])
    east = east / np.linalg.norm(east)
    north = np.cross(centre, east)
    x, y, toward = vectors @ east, vectors @ north, vectors @ centre
    radius = np.hypot(x, y)
    angle = np.arctan2(radius, toward)
    stretch = np.where(radius > 1e-12, angle / np.maximum(radius, 1e-12), 1.0)
    return np.stack([x, y], axis=1) * (EARTH_RADIUS_KM * stretch)[:, None]
