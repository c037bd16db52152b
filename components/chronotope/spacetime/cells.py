"""Hexagonal cells (H3) of points."""

from typing import Final

import h3.api.numpy_int as h3
import numpy as np
import numpy.typing as npt
import pyarrow as pa

NO_CELL: Final = np.uint64(0)
"""Cell of a point that is unknown or impossible; never a valid H3 index."""


def h3_cells(
    *, lat: npt.ArrayLike, lon: npt.ArrayLike, resolution: int = 8
) -> npt.NDArray[np.uint64]:
    """H3 cell of each point.

    Distinct points are looked up once, so a log of check-ins costs one call a place.

    Args:
        lat: Latitudes, degrees WGS 84, shape (n,).
        lon: Longitudes, degrees, shape (n,).
        resolution: 0 (1,108 km edges) to 15 (0.5 m); 8 has edges of 0.46 km.

    Returns:
        Cell indices, shape (n,); ``NO_CELL`` where a coordinate is NaN or impossible.
    """
    points = np.stack([np.asarray(lat, float), np.asarray(lon, float)], axis=1)  # (n, 2)
    possible = (np.abs(points) <= (90.0, 180.0)).all(axis=1)
    cells = np.full(len(points), NO_CELL, dtype=np.uint64)
    distinct, place = np.unique(points[possible], axis=0, return_inverse=True)
    found = [h3.latlng_to_cell(a, b, resolution) for a, b in distinct.tolist()]
    cells[possible] = np.array(found, dtype=np.uint64)[place.reshape(-1)]
    return cells


def cell_names(cells: npt.NDArray[np.uint64]) -> pa.StringArray:
    """Cells as H3 writes them, in hexadecimal; null for ``NO_CELL``."""
    distinct, place = np.unique(cells, return_inverse=True)
    names = pa.array([f"{cell:x}" if cell else None for cell in distinct.tolist()], pa.string())
    return names.take(pa.array(place.reshape(-1)))
