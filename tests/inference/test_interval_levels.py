"""Levels of the served time interval: stored by version, and nominal in every other case."""

from pathlib import Path

import numpy as np
import pytest

from chronotope.inference.forecast import RemainingWait, forecast_time, forecast_times
from chronotope.inference.interval_levels import (
    IntervalLevels,
    forecast_levels,
    write_interval_levels,
)
from chronotope.metrics import LognormalMixture, conformal_levels
from chronotope.runtime.workspace import Workspace

NOMINAL = [0.1, 0.5, 0.9]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_levels_belong_to_one_version(workspace: Workspace) -> None:
    write_interval_levels(workspace, "town", IntervalLevels(champion="7", low=0.04, high=0.97))
    assert forecast_levels(workspace, "town", "7").tolist() == [0.04, 0.5, 0.97]
    assert forecast_levels(workspace, "town", "8").tolist() == NOMINAL
    assert forecast_levels(workspace, "city", "7").tolist() == NOMINAL


def test_a_damaged_file_leaves_the_nominal_levels(workspace: Workspace) -> None:
    path = write_interval_levels(
        workspace, "town", IntervalLevels(champion="7", low=0.04, high=0.97)
    )
    for content in (b"", b"{}", b"\xff\xfe", b'{"champion": "7", "low": 0.7, "high": 0.97}'):
        path.write_bytes(content)
        assert forecast_levels(workspace, "town", "7").tolist() == NOMINAL


def test_an_interval_by_observed_levels_covers_later_gaps() -> None:
    """Forecasts are too narrow by half: the levels of one half of the gaps cover the other."""
    rng = np.random.default_rng(0)
    mixture = LognormalMixture(*(np.tile(value, (4000, 1)) for value in (0.0, 2.0, 0.5)))
    gap_h = np.exp(rng.normal(2.0, 1.0, 4000))
    pit = mixture.cdf(gap_h)
    low, high = conformal_levels(pit[:2000])
    later = pit[2000:]
    assert ((later >= 0.1) & (later <= 0.9)).mean() < 0.6
    assert 0.77 < ((later >= low) & (later <= high)).mean() < 0.83


def test_few_gaps_keep_the_nominal_levels() -> None:
    assert conformal_levels(np.full(49, 0.5)) == (0.1, 0.9)


def test_the_interval_lies_between_its_levels_and_the_median_stays() -> None:
    wait = RemainingWait(np.array([[0.0], [2.0], [0.0]]), elapsed_h=0.0, elapsed_cdf=0.0)
    nominal, wide = forecast_time(wait), forecast_time(wait, np.array([0.02, 0.5, 0.98]))
    assert nominal is not None
    assert wide is not None
    assert wide.low_h < nominal.low_h < nominal.median_h == wide.median_h
    assert nominal.high_h < wide.high_h
    assert forecast_times(np.zeros((0, 3, 1), np.float32), [], None).shape == (0, 3)  # type: ignore[arg-type]
