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

    Distinct points are looked up once, so a log of check-ins costs one call per place.

    Args:
        lat: Latitudes, degrees WGS 84, shape (n,).
        lon: Longitudes, degrees, shape (n,).
        resolution: 0 (1,108 km edges) to 15 (0.5 m); 8 has edges of 0.46 km.

    Returns:
        Cell indices, shape (n,); ``NO_CELL`` where a coordinate is NaN or impossible.
    """
    lat_lon_deg = np.stack([np.asarray(lat, float), np.asarray(lon, float)], axis=1)  # (n, 2)
    is_valid = (np.abs(lat_lon_deg) <= (90.0, 180.0)).all(axis=1)
    cell_ids = np.full(len(lat_lon_deg), NO_CELL, dtype=np.uint64)
    distinct_cells, place = np.unique(lat_lon_deg[is_valid], axis=0, return_inverse=True)
    point_cells = [h3.latlng_to_cell(a, b, resolution) for a, b in distinct_cells.tolist()]
    cell_ids[is_valid] = np.array(point_cells, dtype=np.uint64)[place.reshape(-1)]
    return cell_ids


def cell_names(cell_ids: npt.NDArray[np.uint64]) -> pa.StringArray:
    """Hexadecimal H3 names of cells; null for ``NO_CELL``."""
    distinct_cells, place = np.unique(cell_ids, return_inverse=True)
    cell_texts = pa.array(
        [f"{cell_id:x}" if cell_id else None for cell_id in distinct_cells.tolist()], pa.string()
    )
    return cell_texts.take(pa.array(place.reshape(-1)))
