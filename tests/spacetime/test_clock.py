"""Local time against the standard library."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.errors import ConfigError
from chronotope.spacetime.clock import hour_of_week, local_hour, utc_from_local, utc_offsets

seconds = st.integers(min_value=0, max_value=4_000_000_000)


def wall_clock(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@given(seconds, st.sampled_from(["America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]))
def test_offset_hour_and_weekday_match_datetime(second: int, name: str) -> None:
    moment = datetime.fromtimestamp(second, ZoneInfo(name))
    utc_s = np.array([second])
    offset = utc_offsets(utc_s, name)
    assert local_hour(utc_s, offset)[0] == pytest.approx(
        moment.hour + moment.minute / 60 + moment.second / 3600
    )
    assert hour_of_week(utc_s, offset)[0] == moment.weekday() * 24 + moment.hour


@given(st.lists(seconds, min_size=1, max_size=5))
def test_wall_clock_there_and_back(moments: list[int]) -> None:
    utc_s = np.array(moments)
    local = utc_s + utc_offsets(utc_s, "Europe/Vienna").astype(np.int64) * 60
    back, exists = utc_from_local(local, "Europe/Vienna")
    assert exists.all()
    assert np.isin(utc_s - back, [0, 3600]).all()  # 3600: the second of two equal readings


def test_skipped_hour_does_not_exist_and_repeated_hour_is_the_first() -> None:
    local = np.array([wall_clock("2017-03-12 02:30"), wall_clock("2017-11-05 01:30")])
    utc_s, exists = utc_from_local(local, "America/New_York")
    assert exists.tolist() == [False, True]
    assert utc_s[1] == wall_clock("2017-11-05 05:30")


def test_far_instants_still_have_an_offset() -> None:
    assert utc_offsets(np.array([-(10**12), 10**12]), "UTC").tolist() == [0, 0]


def test_unknown_zone_is_named() -> None:
    with pytest.raises(ConfigError, match="Mars/Olympus"):
        utc_offsets(np.array([0]), "Mars/Olympus")
