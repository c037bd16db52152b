"""For one seed, models, service, feedback and report give the numbers that are stored here."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden.measure import CHECK_INS, FOLDER, measure_check_ins, measure_city

# Processors differ in the order of their sums: a training moves scores by some 1e-5.
TOLERANCE = {"rel": 2e-3, "abs": 2e-4}


def assert_equal(measured: Any, stored: Any, path: str = "") -> None:
    """Equal keys, ids and counts; numbers within the tolerance."""
    if isinstance(stored, dict):
        assert measured.keys() == stored.keys(), path
        for name in stored:
            assert_equal(measured[name], stored[name], f"{path}/{name}")
    elif isinstance(stored, list):
        assert len(measured) == len(stored), path
        for n, (value, wanted) in enumerate(zip(measured, stored, strict=True)):
            assert_equal(value, wanted, f"{path}[{n}]")
    elif isinstance(stored, float):
        assert measured == pytest.approx(stored, **TOLERANCE), path
    else:
        assert measured == stored, path


def stored(name: str) -> dict[str, Any]:
    golden: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return golden


@pytest.mark.slow
def test_the_simulated_town(prefect: None, tmp_path: Path) -> None:
    assert_equal(measure_city(tmp_path), stored("city"))


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not CHECK_INS.is_dir(), reason=f"needs the check-ins in {CHECK_INS}")
def test_check_ins(tmp_path: Path) -> None:
    assert_equal(measure_check_ins(tmp_path), stored("check_ins"))
