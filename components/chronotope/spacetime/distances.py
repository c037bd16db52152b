"""Great-circle distances."""

from typing import Final

import numpy as np
import numpy.typing as npt

EARTH_RADIUS_KM: Final = 6371.0088
"""Mean radius R1 of the WGS 84 ellipsoid. Source: IUGG (Moritz 2000)."""


def haversine_km(
    *,
    lat: npt.ArrayLike,
    lon: npt.ArrayLike,
    to_lat: npt.ArrayLike,
    to_lon: npt.ArrayLike,
) -> npt.NDArray[np.float64]:
    """Great-circle distance between points, element by element.

    d = 2 R asin sqrt(sin²(Δφ/2) + cos φ₁ cos φ₂ sin²(Δλ/2))

    Args:
        lat: Latitude of the first points, degrees WGS 84.
        lon: Longitude of the first points, degrees.
        to_lat: Latitude of the second points, degrees.
        to_lon: Longitude of the second points, degrees.

    Returns:
        Kilometres, in the broadcast shape of the arguments; NaN where one is NaN.

    Example:
        >>> float(haversine_km(lat=0, lon=0, to_lat=0, to_lon=180).round(0))
        20015.0
    """
    latitude_rad, to_phi = np.radians(np.asarray(lat, float)), np.radians(np.asarray(to_lat, float))
    half_dlat = (to_phi - latitude_rad) / 2
    half_dlon = np.radians(np.asarray(to_lon, float) - np.asarray(lon, float)) / 2
    squared_half_chord = (
        np.sin(half_dlat) ** 2 + np.cos(latitude_rad) * np.cos(to_phi) * np.sin(half_dlon) ** 2
    )
    distance_km: npt.NDArray[np.float64] = (
        2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(squared_half_chord, 0, 1)))
    )
    return distance_km
