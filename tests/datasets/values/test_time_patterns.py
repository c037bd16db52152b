"""Patterns are checked when they are compiled, and read what the standard library reads."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.errors import ConfigError
from chronotope.datasets.time_spec import TimeSpec
from chronotope.datasets.values.time_patterns import compile_pattern
from chronotope.datasets.values.time_texts import parse_times

MOMENT = datetime(2024, 3, 4, 8, 5, 6, tzinfo=UTC)
FORMS = [
    "%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%a %b %d %H:%M:%S %z %Y",
    "%Y%m%d%H%M%S", "%d %B %Y %H:%M:%S.%f", "%Y-%j %H:%M:%S", "%G-W%V-%u %H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ", "%A, %d %b %Y, %H:%M:%S",
]  # fmt: skip


def read(pattern: str, text: str) -> datetime | None:
    times = parse_times(pa.array([text]), compile_pattern(pattern))
    return datetime.fromtimestamp(times.micros[0] / 1e6, UTC) if times.is_read[0] else None


@pytest.mark.parametrize("pattern", FORMS)
@given(st.datetimes(datetime(1970, 1, 1), datetime(2068, 12, 31)))  # noqa: DTZ001
def test_what_strftime_writes_is_read(pattern: str, moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert read(pattern, moment.strftime(pattern)) == moment


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%F %T", "2024-03-04 08:05:06"),
        ("%D %T", "03/04/24 08:05:06"),
        ("%e.%-m.%Y %k:%M:%S", "4.3.2024 8:05:06"),
        ("%Y年%m月%d日%H時%M分%S秒", "2024年3月4日8時5分6秒"),
        ("%Y-%m-%d %H:%M:%S %Z", "2024-03-04 08:05:06 UTC"),
        ("%Y-%m-%d %H:%M:%S+01:00", "2024-03-04 09:05:06+01:00"),
        ("%a %b %d %Y %T GMT%z", "Mon Mar 04 2024 13:35:06 GMT+0530"),
        ("%d/%b/%Y:%H:%M:%S %z", "04/Mar/2024:03:05:06 -0500"),
    ],
)
def test_usual_forms_are_read(pattern: str, text: str) -> None:
    assert read(pattern, text) == MOMENT


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%Y-%m-%d", "2024-02-30"),
        ("%Y-%j", "2023-366"),
        ("%G-W%V-%u", "2021-W53-1"),
        ("%Y%m%d", "2024112"),  # 12 January or 2 November
        ("%Y-%m-%d %H:%M:%S %Z", "2024-03-04 08:05:06 CST"),
        ("%Y-%m-%d %H:%M", "2024-03-04 24:18"),
    ],
)
def test_what_does_not_exist_or_is_ambiguous_is_not_read(pattern: str, text: str) -> None:
    assert read(pattern, text) is None


def test_hour_24_is_the_next_midnight() -> None:
    assert read("%d.%m.%Y %H:%M", "31.12.2024 24:00") == datetime(2025, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("pattern", "way_out"),
    [
        ("%s", "epoch_s"), ("%Y-%m-%d %L", "%f"), ("yyyy-MM-dd HH:mm:ss", "%Y-%m-%d %H:%M:%S"),
        ("%U %Y", "%G"), ("%Y-%m-%d %", "%%"), ("%H:%M", "%Y"), ("%Y-%m", "%d"), ("%m-%d", "%Y"),
        ("%Y-%m-%d %I:%M", "%p"), ("%Y-%m-%d %H:%M %p", "%I"), ("%Y %Y-%m-%d", "once"),
        ("%c", "%a"),
        ("%Y-%m-%d %M", "%H"), ("%Y-%m-%d %H:%S", "%M"), ("", "%d"),
    ],
)  # fmt: skip
def test_unusable_patterns_are_refused_with_a_way_out(pattern: str, way_out: str) -> None:
    with pytest.raises(ConfigError) as error:
        TimeSpec.model_validate({"kind": "strptime", "pattern": pattern})
    assert way_out in error.value.way_out


def test_an_abbreviation_in_the_pattern_needs_a_time_zone() -> None:
    spec = {"kind": "strptime", "pattern": "%Y-%m-%d %H:%M CET"}
    with pytest.raises(ConfigError, match="CET"):
        TimeSpec.model_validate(spec)
    assert TimeSpec.model_validate(spec | {"timezone": "+01:00"}).timezone == "+01:00"
