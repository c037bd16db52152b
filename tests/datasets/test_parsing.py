"""Times and numbers in every form they come in."""

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.datasets.parsing import as_instants, as_numbers
from chronotope.datasets.time_spec import TimeSpec

MOMENT = datetime(2021, 7, 1, 10, 30, tzinfo=UTC)
EPOCH = int(MOMENT.timestamp())


@pytest.mark.parametrize(
    ("column", "spec"),
    [
        (pa.array([EPOCH]), {"kind": "epoch_s"}),
        (pa.array([str(EPOCH)]), {"kind": "epoch_s"}),
        (pa.array([EPOCH * 1000]), {"kind": "epoch_ms"}),
        (pa.array([MOMENT.replace(tzinfo=None)]), {}),
        (pa.array([datetime(2021, 7, 1, 12, 30)]), {"timezone": "Europe/Vienna"}),  # noqa: DTZ001
        (pa.array([MOMENT]).cast(pa.timestamp("ns", tz="Asia/Tokyo")), {"timezone": "Asia/Tokyo"}),
        (
            pa.array(["01.07.2021 12:30"]),
            {"kind": "strptime", "pattern": "%d.%m.%Y %H:%M", "timezone": "Europe/Vienna"},
        ),
        (
            pa.array(["01.07.2021 12:30 +0200"]),
            {"kind": "strptime", "pattern": "%d.%m.%Y %H:%M %z", "timezone": "Asia/Tokyo"},
        ),
    ],
)
def test_reads_the_moment(column: pa.Array, spec: dict[str, str]) -> None:
    instants, skipped = as_instants(column, TimeSpec.model_validate(spec))
    assert instants.to_pylist() == [MOMENT]
    assert not skipped.any()


def test_dates_are_midnights_and_numbers_are_not_timestamps() -> None:
    instants, _ = as_instants(pa.array([date(2999, 1, 1)]), TimeSpec())
    assert instants.to_pylist() == [datetime(2999, 1, 1, tzinfo=UTC)]
    assert as_instants(pa.array([5]), TimeSpec())[0].to_pylist() == [None]


def test_absurd_epochs_are_unreadable() -> None:
    column = pa.array([1e300, float("nan"), -1e17, 0.5])
    instants, _ = as_instants(column, TimeSpec.model_validate({"kind": "epoch_s"}))
    assert instants.is_valid().to_pylist() == [False, False, False, True]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_being_text(number: float) -> None:
    assert as_numbers(pa.array([f" {number!r} "])).to_pylist() == [number]


@given(st.lists(st.text(max_size=8)))
def test_no_text_raises(texts: list[str]) -> None:
    column = pa.array(texts, pa.string())
    assert len(as_numbers(column)) == len(texts)
    assert len(as_instants(column, TimeSpec(timezone="Europe/Vienna"))[0]) == len(texts)


def test_booleans_are_zero_and_one() -> None:
    found = as_numbers(pa.array([True, False, None]))
    assert np.array_equal(found.fill_null(-1).to_numpy(), [1, 0, -1])


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_timestamps_that_would_wrap_are_unreadable(unit: str) -> None:
    column = pa.array([2**62, -(2**62), 0], pa.timestamp(unit))
    assert as_instants(column, TimeSpec())[0].is_valid().to_pylist() == [False, False, True]


ISO_FORMS = [
    "2021-07-01T10:30:00Z", "2021-07-01 10:30:00 UTC", "2021-07-01 10:30 GMT", "20210701T103000Z",
    "2021-07-01T12:30:00+02", "2021-07-01T12:30:00+0200", "20210701T1230+02:00", "2021-7-1 10:30Z",
    "2021-07-01 18:30 UTC+8", "2021-07-01T12:30+02:00[Europe/Vienna]", "2021-07-01t10:30:00,0z",
]  # fmt: skip


@pytest.mark.parametrize("text", ISO_FORMS)
def test_a_time_with_a_zone_is_not_shifted_again(text: str) -> None:
    column = pa.array([text, "2021-07-01 12:30"])
    instants, _ = as_instants(column, TimeSpec(timezone="Europe/Vienna"))
    assert instants.to_pylist() == [MOMENT, MOMENT]


@pytest.mark.parametrize(
    "pattern", ["%Y-%m-%d %H:%M UTC", "%Y-%m-%d %H:%M %Z", ["iso8601", "%d.%m.%Y"]]
)
def test_a_zone_in_the_pattern_is_not_shifted_again(pattern: str | list[str]) -> None:
    spec = {"kind": "strptime", "pattern": pattern, "timezone": "Asia/Tokyo"}
    column = pa.array(["2021-07-01 10:30 UTC"])
    assert as_instants(column, TimeSpec.model_validate(spec))[0].to_pylist() == [MOMENT]


@pytest.mark.parametrize(
    "text",
    ["now", "today", "NaT", "20240304", "2024", "2024-03", "March 4, 2024", "269", "03/04/2024",
     "2021-07-01 10:30 CST", "2021-07-01 24:18", "10:30"],
)  # fmt: skip
def test_words_numbers_and_ambiguous_times_are_not_read(text: str) -> None:
    assert as_instants(pa.array([text]), TimeSpec())[0].to_pylist() == [None]


def test_midnight_as_hour_24_and_cut_fractions() -> None:
    column = pa.array(["2021-06-30 24:00:00", "2021-07-01T00:00:00.1234567"])
    assert as_instants(column, TimeSpec())[0].to_pylist() == [
        datetime(2021, 7, 1, tzinfo=UTC),
        datetime(2021, 7, 1, 0, 0, 0, 123456, tzinfo=UTC),
    ]


def test_counts_from_an_origin() -> None:
    spec = TimeSpec.model_validate(
        {"kind": "days", "origin": date(2014, 10, 1), "timezone": "Europe/Vienna"}
    )
    instants, _ = as_instants(pa.array(["-10", "269", "1.5", "x"]), spec)
    assert instants.to_pylist() == [
        datetime(2014, 9, 20, 22, tzinfo=UTC),
        datetime(2015, 6, 26, 22, tzinfo=UTC),
        datetime(2014, 10, 2, 10, tzinfo=UTC),
        None,
    ]


@pytest.mark.parametrize("column", [pa.array([20210701]), pa.array([20210701.0])])
def test_numbers_are_read_by_a_pattern(column: pa.Array) -> None:
    spec = TimeSpec.model_validate({"kind": "strptime", "pattern": "%Y%m%d"})
    assert as_instants(column, spec)[0].to_pylist() == [datetime(2021, 7, 1, tzinfo=UTC)]
