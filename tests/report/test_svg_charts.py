import re

import pytest

from chronotope.report import svg_charts
from chronotope.report.report_data import MapPoint


def test_bars_are_proportional() -> None:
    svg = svg_charts.bar_chart(
        [("a", 0.2, False), ("b", 0.4, True), ("c", float("nan"), False)], "t"
    )
    widths = [float(w) for w in re.findall(r'height="18" width="([\d.]+)"', svg)]
    assert widths[0] == pytest.approx(widths[1] / 2)
    assert widths[2] == 0


def test_empty_histogram_draws() -> None:
    assert svg_charts.histogram((0, 0), "t").count("<rect") == 2


def test_map_has_north_up_and_east_right() -> None:
    south_west = MapPoint(lat=40, lon=-74, weight=9, hit_share=0)
    north_east = MapPoint(lat=41, lon=-73, weight=1, hit_share=1)
    svg = svg_charts.scatter_map([south_west, north_east], "t")
    (x0, y0), (x1, y1) = (map(float, p) for p in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg))
    assert x0 < x1
    assert y0 > y1
    assert (x1 - x0) / (y0 - y1) == pytest.approx(0.7604, abs=0.002)  # cos 40.5 deg


def test_map_of_one_point() -> None:
    svg = svg_charts.scatter_map([MapPoint(lat=90, lon=180, weight=1, hit_share=1)], "t")
    assert 'class="q4"' in svg


def test_map_keeps_the_heaviest() -> None:
    points = [MapPoint(lat=0, lon=0, weight=1 + i, hit_share=0) for i in range(3500)]
    assert svg_charts.scatter_map(points, "t").count("<circle") == 3000
