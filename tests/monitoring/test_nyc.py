"""A year of real check-ins, month by month and week by week."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.drift import ingested, verdicts
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.data_drift import measure_data_drift
from chronotope.monitoring.encoded_events import EncodedColumn, EncodedEvents
from chronotope.monitoring.thresholds import check_statistics
from chronotope.monitoring.windows import Windows
from tests.real_data import CHECK_INS

pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif(not CHECK_INS.exists(), reason=f"needs the check-ins in {CHECK_INS}"),
]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> EncodedEvents:
    return ingested("foursquare_nyc", tmp_path_factory.mktemp("nyc"))


def test_months_are_as_usual_once_there_is_history(events: EncodedEvents) -> None:
    found = verdicts(events, MonitorConfig(window_days=28, reference_windows=1))
    told = [row["verdict"] for row in found]
    assert told == ["not enough history"] * 7 + ["no drift"] * 4


def test_few_weeks_are_called_drift_and_for_reasons(events: EncodedEvents) -> None:
    found = {row["end"]: row for row in verdicts(events, MonitorConfig())}
    drifted = {end: of["drifted"] for end, of in found.items() if of["verdict"] == "drift"}
    assert len(drifted) <= 5
    assert [of["what"] for of in drifted["2012-06-30"]] == ["hour of day"]


def planted(
    events: EncodedEvents, is_last: npt.NDArray[np.bool_], what: str, size: float
) -> EncodedEvents:
    """The same log with its last week changed."""
    rng, texts, numbers = np.random.default_rng(0), events.texts, events.numbers
    if what == "km from last":
        changed = np.where(is_last, size * numbers[what], numbers[what])
        return replace(events, numbers={**numbers, what: changed})
    if what == "new users":
        chosen = is_last & (events.user.codes % 20 < 20 * size)
        codes = np.where(chosen, events.user.codes + len(events.user.names), events.user.codes)
        return replace(events, user=EncodedColumn(codes, events.user.names * 2))
    of = texts[what]
    if what == "hour of day":
        codes = (of.codes + int(size)) % 24
    else:
        other = rng.integers(0, len(of.names), len(of.codes))
        codes = np.where(rng.random(len(other)) < size, other, of.codes)
    return replace(
        events, texts={**texts, what: EncodedColumn(np.where(is_last, codes, of.codes), of.names)}
    )


@pytest.mark.parametrize(
    ("what", "size", "found"),
    [
        ("km from last", 2.0, True),
        ("km from last", 1.5, False),
        ("new users", 0.05, True),
        ("item category", 0.5, True),
        ("item category", 0.2, False),
        ("hour of day", 6, False),
    ],
)
def test_how_large_a_change_of_the_last_week_has_to_be(
    events: EncodedEvents, what: str, size: float, found: bool
) -> None:
    config = MonitorConfig()
    windows = Windows.over(events.occurred_s, config)
    is_last = windows.of(events.occurred_s) == windows.n - 1
    changed = planted(events, is_last, what, size)
    checks = check_statistics(measure_data_drift(changed, windows, config)[0], config)
    assert [check.name for check in checks if check.verdict == "drift"] == [what] * found
