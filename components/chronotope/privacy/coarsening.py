"""Coarser coordinates and times of events, the same at ingestion and in the service."""

from typing import Final

import h3.api.numpy_int as h3
import numpy as np
import numpy.typing as npt

from chronotope.spacetime.cells import NO_CELL, h3_cells

_MINUTE_US: Final = 60_000_000


def coarse_coordinates(
    *, lat: npt.ArrayLike, lon: npt.ArrayLike, resolution: int
) -> npt.NDArray[np.float64]:
    """Centres of the H3 cells of points, shape (n, 2), latitude and longitude in degrees.

    Args:
        lat: Latitudes, degrees WGS 84, shape (n,).
        lon: Longitudes, degrees, shape (n,).
        resolution: Of the cells, 0 to 15.

    Returns:
        NaN where a coordinate is missing or impossible.

    Example:
        >>> coarse_coordinates(lat=[48.2082], lon=[16.3738], resolution=7).round(3).tolist()
        [[48.213, 16.363]]
    """
    point_cells = h3_cells(lat=lat, lon=lon, resolution=resolution)
    distinct_cells, place = np.unique(point_cells, return_inverse=True)
    centres = [
        (np.nan, np.nan) if cell == NO_CELL else h3.cell_to_latlng(cell) for cell in distinct_cells
    ]
    return np.array(centres, np.float64).reshape(-1, 2)[place.reshape(-1)]


def coarse_times(
    occurred_us: npt.NDArray[np.int64], utc_offset_min: npt.ArrayLike, resolution_min: int
) -> npt.NDArray[np.int64]:
    """Times rounded down to a multiple of some minutes on the clocks of their users.

    Args:
        occurred_us: UTC microseconds, shape (n,).
        utc_offset_min: Minutes of the users' clocks ahead of UTC, shape (n,).
        resolution_min: Minutes, a divisor of a day.

    Returns:
        UTC microseconds, shape (n,).

    Example:
        >>> day = coarse_times(np.array([90_000_000_000]), [60], 1440)  # 01:00 UTC, 02:00 there
        >>> int(day[0]) // 60_000_000
        1380
    """
    offset_us = np.asarray(utc_offset_min, np.int64) * _MINUTE_US
    local_us = np.asarray(occurred_us, np.int64) + offset_us
    return np.asarray(local_us - local_us % (resolution_min * _MINUTE_US) - offset_us, np.int64)
