"""How good a predicted place was: right or not, and how far off."""

from dataclasses import dataclass

import numpy as np

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Catalog, Int32
from chronotope.spacetime.distances import haversine_km


@dataclass(frozen=True, slots=True)
class PlaceError:
    """Quality of the predicted places.

    Attributes:
        accuracy: Share of targets whose place was predicted exactly.
        median_km: Median distance from the predicted to the true place, over the
            targets where both have coordinates; NaN if there is none.
        n_targets: Number of targets.
        n_located: Targets with both coordinates.
    """

    accuracy: float
    median_km: float
    n_targets: int
    n_located: int


def evaluate_place(predicted: Int32, true: Int32, catalog: Catalog) -> PlaceError:
    """Judge predicted places against the true ones.

    Args:
        predicted: Most likely place of each target, shape (B,).
        true: Place of each target, shape (B,).
        catalog: Coordinates of the places.

    Returns:
        The scores.

    Raises:
        DataError: There are no targets, or not one prediction a target.
    """
    if len(true) == 0 or predicted.shape != true.shape:
        raise DataError(
            "One predicted place a target, and at least one target, are needed",
            received=f"shapes {predicted.shape} and {true.shape}",
        )
    km = haversine_km(
        lat=catalog.place_lat[predicted],
        lon=catalog.place_lon[predicted],
        to_lat=catalog.place_lat[true],
        to_lon=catalog.place_lon[true],
    )
    located = km[~np.isnan(km)]
    return PlaceError(
        accuracy=float((predicted == true).mean()),
        median_km=float(np.median(located)) if len(located) else float("nan"),
        n_targets=len(true),
        n_located=len(located),
    )
