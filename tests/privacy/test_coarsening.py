"""Coarse places and times: few values, no exact one, and the same when made coarse again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chronotope.privacy import coarse_coordinates, coarse_times
from chronotope.spacetime.cells import h3_cells

MINUTE_US = 60_000_000


@given(st.floats(-89, 89), st.floats(-179, 179), st.integers(0, 10))
def test_a_centre_lies_in_the_cell_and_stays(lat: float, lon: float, resolution: int) -> None:
    once = coarse_coordinates(lat=[lat], lon=[lon], resolution=resolution)
    cell = h3_cells(lat=[lat], lon=[lon], resolution=resolution)
    assert h3_cells(lat=once[:, 0], lon=once[:, 1], resolution=resolution) == cell
    assert (coarse_coordinates(lat=once[:, 0], lon=once[:, 1], resolution=resolution) == once).all()


def test_unknown_points_stay_unknown() -> None:
    centres = coarse_coordinates(lat=[np.nan, 48.2, 91.0], lon=[16.0, np.nan, 0.0], resolution=7)
    assert np.isnan(centres).all()


@given(
    st.integers(0, 4_000_000_000_000_000),
    st.integers(-840, 840),
    st.sampled_from([1, 15, 60, 1440]),
)
def test_times_are_rounded_down_on_the_users_clock(
    occurred_us: int, offset_min: int, resolution_min: int
) -> None:
    once = coarse_times(np.array([occurred_us]), [offset_min], resolution_min)
    assert 0 <= occurred_us - once[0] < resolution_min * MINUTE_US
    assert (once[0] + offset_min * MINUTE_US) % (resolution_min * MINUTE_US) == 0
    assert (coarse_times(once, [offset_min], resolution_min) == once).all()
