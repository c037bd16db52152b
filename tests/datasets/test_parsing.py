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
