"""Times as read are rounded in every form of a source, and hidden where they cannot be."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.datasets.parsing import as_instants
from chronotope.datasets.time_spec import TimeSpec
from chronotope.datasets.values.coarse_raw_times import (
    MAX_SHAPE_CHARS,
    UserClocks,
    coarse_raw_times,
)
from chronotope.privacy import coarse_times

S = 1_704_278_232  # 2024-01-03 10:37:12 UTC
HOUR_S = S // 3600 * 3600
VIENNA = {"timezone": "Europe/Vienna"}


def rounded(values: list[Any], spec: dict[str, Any], arrow_type: Any = None, **clocks: Any) -> list:
    column = pa.array(values, arrow_type)
    minutes = clocks.pop("resolution_min", 60)
    coarse = coarse_raw_times(column, TimeSpec(**spec), UserClocks(**clocks), minutes)
    assert coarse.type == column.type
    return coarse.to_pylist()


@pytest.mark.parametrize(
    ("value", "spec", "coarse"),
    [
        ("2024-01-03T10:37:12.5Z", {}, "2024-01-03T10:00:00Z"),
        ("2024-01-03 11:37", VIENNA, "2024-01-03T10:00:00Z"),
        (S, {"kind": "epoch_s"}, HOUR_S),
        (f"{S}.25", {"kind": "epoch_s"}, str(HOUR_S)),
        (S + 0.25, {"kind": "epoch_s"}, float(HOUR_S)),
        (S * 1000 + 1, {"kind": "epoch_ms"}, HOUR_S * 1000),
        (S * 10**9 + 1, {"kind": "epoch_ns"}, HOUR_S * 10**9),
        (95, {"kind": "minutes", "origin": "2024-01-01"}, 60),
        (49, {"kind": "hours", "origin": "2024-01-01"}, 49),
        (3, {"kind": "days", "origin": "2024-01-01"}, 3),
        ("2.45", {"kind": "days", "origin": "2024-01-01"}, "2.416666667"),
        ("03.01.2024 11:37", {"kind": "strptime", "pattern": "%d.%m.%Y %H:%M", **VIENNA},
         "03.01.2024 11:00"),
        ("Wed Jan 03 10:37:12 +0000 2024",
         {"kind": "strptime", "pattern": "%a %b %d %H:%M:%S %z %Y"},
         "Wed Jan 03 10:00:00 +0000 2024"),
        ("3/1/24 10.37 pm", {"kind": "strptime", "pattern": "%-d/%-m/%y %I.%M %p"},
         "03/01/24 10.00 PM"),
        ("2024-003 10:37 UTC+8", {"kind": "strptime", "pattern": "%Y-%j %H:%M UTC+8"},
         "2024-003 10:00 UTC+8"),
        (20240103103712, {"kind": "strptime", "pattern": "%Y%m%d%H%M%S"}, 20240103100000),
        (datetime(2024, 1, 3, 10, 37, 12, tzinfo=UTC), {}, datetime(2024, 1, 3, 10, tzinfo=UTC)),
        (datetime(2024, 1, 3, 11, 37), VIENNA, datetime(2024, 1, 3, 11)),  # noqa: DTZ001
        (date(2024, 1, 3), {}, date(2024, 1, 3)),
    ],
)  # fmt: skip
def test_times_are_rounded_in_the_form_of_the_source(value: Any, spec: Any, coarse: Any) -> None:
    assert rounded([value], spec) == [coarse]
    assert rounded([coarse], spec) == [coarse]  # a row that is read again stays what it is


@pytest.mark.parametrize(
    ("value", "spec", "hidden"),
    [
        ("yesterday, 9 pm", {}, "xxxxxxxxx, # xx"),
        ("31.12.2024 21:07", {}, "##.##.#### ##:##"),
        ("Zoë_42@x.org", {}, "xxx?##?x.xxx"),
        ("7" * 200, {"kind": "epoch_s"}, "#" * MAX_SHAPE_CHARS),
        ("2024-03-31 02:37", VIENNA, "####-##-## ##:##"),  # skipped when clocks were put forward
        (S * 1000, {"kind": "epoch_s"}, None),
        (float(S * 1000), {"kind": "epoch_s"}, None),
        (S, {}, None),
        (b"\xff", {}, None),
        (None, {}, None),
        ("", {}, ""),
        (float("inf"), {"kind": "epoch_s"}, None),
    ],
)
def test_times_that_cannot_be_read_are_hidden(value: Any, spec: Any, hidden: Any) -> None:
    assert rounded([value], spec) == [hidden]


def test_clocks_are_those_of_the_rows_or_of_the_zone() -> None:
    text = "2024-01-03T23:37:12Z"
    day = {"resolution_min": 1440}
    assert rounded([text], {}, **day) == ["2024-01-03T00:00:00Z"]
    assert rounded([text], {}, local_zone="Asia/Tokyo", **day) == ["2024-01-03T15:00:00Z"]
    offsets = np.array([-60.0, np.nan])
    assert rounded([text, text], {}, local_zone="Asia/Tokyo", offset_min=offsets, **day) == [
        "2024-01-03T01:00:00Z",
        "2024-01-03T15:00:00Z",
    ]


SPECS = (
    {"kind": "timestamp"},
    {"kind": "epoch_s"},
    {"kind": "epoch_ms"},
    {"kind": "days", "origin": "1999-12-31"},
    {"kind": "hours", "origin": "1999-12-31", **VIENNA},
    {"kind": "strptime", "pattern": "%d/%m/%Y %H:%M:%S", **VIENNA},
    {"kind": "strptime", "pattern": ["%Y%m%d", "%Y-%m-%d %I:%M:%S %p"]},
)


@given(
    st.sampled_from(SPECS),
    st.sampled_from((15, 60, 240, 1440)),
    st.lists(st.integers(-(10**9), 10**10), min_size=1, max_size=4),
    st.sampled_from((None, "Europe/Vienna", "Asia/Kolkata")),
    st.booleans(),
)
def test_nothing_finer_than_the_resolution_is_stored(
    spec: Any, minutes: int, counts: list[int], zone: str | None, is_text: bool
) -> None:
    time_spec, clocks = TimeSpec(**spec), UserClocks(zone)
    form = "%Y-%m-%d %I:%M:%S %p" if time_spec.patterns[1:] else time_spec.pattern
    form = form or ("%Y-%m-%dT%H:%M:%S" if spec["kind"] == "timestamp" else None)
    moments = [datetime.fromtimestamp(count, UTC) for count in counts]
    texts = [moment.strftime(form) for moment in moments] if form else list(map(str, counts))
    column = pa.array(texts if is_text or form else counts)
    stored = coarse_raw_times(column, time_spec, clocks, minutes)
    for raw, kept in zip(column, stored, strict=True):
        before, after = (as_instants(pa.array([v.as_py()], column.type), time_spec)[0] for v in
                         (raw, kept))  # fmt: skip
        if not after[0].is_valid:
            assert kept.as_py() is None or set(kept.as_py()) <= set("#x -/:")
            continue
        instants = (int(before.cast(pa.int64())[0].as_py()), int(after.cast(pa.int64())[0].as_py()))
        same = [int(coarse_times(np.array([us]), clocks.at(np.array([us])), minutes)[0])
                for us in instants]  # fmt: skip
        assert same[0] == same[1]
        unit_s = 86_400 if time_spec.kind == "days" else 3600 if time_spec.kind == "hours" else 1
        assert instants[1] - same[1] < unit_s * 1_000_000
