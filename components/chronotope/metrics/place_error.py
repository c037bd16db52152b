"""Error of a predicted place: accuracy and distance."""

from dataclasses import dataclass

import numpy as np

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Catalog, Int32
from chronotope.spacetime.distances import haversine_km


@dataclass(frozen=True, slots=True)
class PlaceError:
    """Accuracy and distance error of the predicted places.

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


def evaluate_place(predicted_idx: Int32, true_idx: Int32, catalog: Catalog) -> PlaceError:
    """Accuracy and distance error of predicted places.

    Args:
        predicted_idx: Most likely place of each target, shape (B,).
        true_idx: Place of each target, shape (B,).
        catalog: Coordinates of the places.

    Returns:
        The errors.

    Raises:
        DataError: There are no targets, or not one prediction a target.
    """
    if len(true_idx) == 0 or predicted_idx.shape != true_idx.shape:
        raise DataError(
            "One predicted place a target, and at least one target, are needed",
            received=f"shapes {predicted_idx.shape} and {true_idx.shape}",
        )
    error_km = haversine_km(
        lat=catalog.place_lat[predicted_idx],
        lon=catalog.place_lon[predicted_idx],
        to_lat=catalog.place_lat[true_idx],
        to_lon=catalog.place_lon[true_idx],
    )
    located_km = error_km[~np.isnan(error_km)]
    return PlaceError(
        accuracy=float((predicted_idx == true_idx).mean()),
        median_km=float(np.median(located_km)) if len(located_km) else float("nan"),
        n_targets=len(true_idx),
        n_located=len(located_km),
    )
