"""Everything together: a calm city, a shifted one, and what is said when something lacks."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from chronotope.contracts.data_version import DataVersion
from chronotope.contracts.drift_report import CHECKS, DriftReport
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.monitor import monitor, report_key
from chronotope.monitoring.publish import drift_summary
from tests.inference.hand_made import register_twice
from tests.monitoring.city import SMALL, settle, subject


def drifted(found: DriftReport) -> set[str]:
    return {check.name for check in found.checks if check.verdict == "drift"}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("calm")
    settle(root)
    return root


@pytest.fixture(scope="module")
def reigned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A city with a champion, whose last three days are unlike the others."""
    root = tmp_path_factory.mktemp("reigned")
    settle(root, shifted=True)
    register_twice(root)
    return root


def test_a_calm_city_without_champion_or_log(calm: Path) -> None:
    found = monitor(subject(calm))
    assert (found.verdict, found.reasons, found.champion) == ("no drift", (), None)
    assert found.notes == (
        "predictions are not evaluated: there is no champion",
        "the outcome is not evaluated: the service has logged no recommendations",
    )
    assert {check.part for check in found.checks} == {"data"}
    judged = {check.name for check in found.checks if check.verdict == "usual"}
    assert judged == {
        "item",
        "hour of day",
        "weekday",
        "hours since last",
        "new items",
        "new users",
    }
    assert not (calm / "mlruns").exists()
    assert {path.name for path in (calm / "data").iterdir()} == {"lake", "features"}


def test_what_was_planted_is_found_in_data_and_predictions(reigned: Path) -> None:
    found = monitor(subject(reigned))
    assert found.verdict == "drift"
    assert {"item", "hour of day"} <= drifted(found)
    assert "new users" not in drifted(found)
    assert found.champion == "1"
    assert len(found.windows) == SMALL.prediction_windows
    before, now = (found.windows[at].metrics["ndcg_10"] for at in (-2, -1))
    assert now < before - 0.2
    assert len(found.pit) == 10
    assert sum(found.pit) == pytest.approx(1)
    hours = next(of for of in found.columns if of.name == "hour of day")
    assert sum(of.current for of in hours.bins) == pytest.approx(1)
    assert any(why.startswith("data: hour of day (js) is 0.") for why in found.reasons)


def test_it_is_plain_json_and_a_table(reigned: Path) -> None:
    found = monitor(subject(reigned))
    told = json.loads(json.dumps(found.model_dump(mode="json"), allow_nan=False))
    assert DriftReport.model_validate(told) == found
    assert found.table().schema == CHECKS
    assert len(found.table()) == len(found.checks)
    assert drift_summary(found).startswith("**city, 2020-09-10")


def test_too_little_history_is_said_and_is_no_drift(tmp_path: Path) -> None:
    settle(tmp_path, shifted=True, days=25)
    found = monitor(subject(tmp_path))
    assert (found.verdict, found.reasons) == ("not enough history", ())
    assert found.notes[0].startswith("not enough history: 8 windows of 3 days, 11 are required")
    assert {check.verdict for check in found.checks} == {"not enough history", "shown"}


@pytest.mark.parametrize("days", [1, 60])
def test_too_few_events_are_not_compared(tmp_path: Path, days: int) -> None:
    settle(tmp_path, n=40, days=days)
    found = monitor(subject(tmp_path))
    assert (found.verdict, found.checks, found.columns) == ("not enough history", (), ())
    assert any("too few events" in note for note in found.notes)


def test_a_champion_that_has_seen_the_window_is_not_judged_on_it(reigned: Path) -> None:
    one = MonitorConfig(window_days=31, min_rows=50, reference_windows=1)
    found = monitor(subject(reigned, one))
    assert found.windows == ()
    assert any("later than the champion's training" in note for note in found.notes)


def test_an_old_champion_is_flagged(reigned: Path) -> None:
    told = subject(reigned)
    young, old = monitor(told), monitor(replace(told, now=told.now + timedelta(days=31)))
    assert (young.is_old, old.is_old) == (False, True)
    assert old.champion_age_days == pytest.approx(31, abs=0.1)
    assert "champion 1 is stale: 31.0 days" in drift_summary(old)
    assert report_key(replace(told, now=told.now + timedelta(days=31))) != report_key(told)


def test_the_key_is_that_of_data_champion_and_settings(reigned: Path) -> None:
    told = subject(reigned)
    assert report_key(replace(told, now=told.now + timedelta(days=3))) == report_key(told)
    assert report_key(replace(told, config=SMALL.model_copy(update={"force": True}))) == report_key(
        told
    )
    for other in (
        replace(told, data_version=DataVersion.parse("events@0.1f3a9c20")),
        replace(told, config=SMALL.model_copy(update={"seed": 1})),
    ):
        assert report_key(other) != report_key(told)
