"""H3 cells of points."""

import h3
import numpy as np

from chronotope.spacetime.cells import NO_CELL, cell_names, h3_cells


def test_matches_the_library_point_by_point() -> None:
    lat, lon = [40.7, 48.2, 40.7], [-74.0, 16.37, -74.0]
    expected = [h3.str_to_int(h3.latlng_to_cell(a, b, 9)) for a, b in zip(lat, lon, strict=True)]
    assert h3_cells(lat=lat, lon=lon, resolution=9).tolist() == expected


def test_unknown_and_impossible_points_have_no_cell() -> None:
    cells = h3_cells(lat=[np.nan, 999.0, 0.0, np.inf], lon=[0.0, 0.0, 181.0, 0.0])
    assert (cells == NO_CELL).all()


def test_names_are_the_librarys() -> None:
    cells = h3_cells(lat=[40.7, np.nan, 40.7], lon=[-74.0, 0.0, -74.0], resolution=8)
    name = h3.latlng_to_cell(40.7, -74.0, 8)
    assert cell_names(cells).to_pylist() == [name, None, name]


def test_no_points_give_no_cells() -> None:
    assert len(h3_cells(lat=[], lon=[])) == 0
