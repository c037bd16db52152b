"""An event is the same by both roads; whatever is no event is refused and says why."""

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.datasets.normalise import normalise
from chronotope.datasets.spec import DatasetSpec
from chronotope.feedback.payloads import NO_OBJECT, payloads_to_batch

TABLE = {"format": "csv", "path": "log.csv"}
ABOUT = {"name": "cafe", "description": "Guests.", "licence": "ours"}
GOOD: dict[str, Any] = {"user_id": "7", "item_id": "tea", "occurred_at": "2025-02-03T07:15:00Z"}


def spec(**more: Any) -> DatasetSpec:
    columns = {"user_id": "u", "item_id": "i", "occurred_at": "t"} | more.pop("columns", {})
    events = {**TABLE, "columns": columns, "context": more.pop("context", {})}
    return DatasetSpec.model_validate({**ABOUT, "events": events, **more})


def reasons(*payloads: object, of: DatasetSpec | None = None) -> list[list[str]]:
    batch = payloads_to_batch(payloads, of or spec())
    assert len(batch.rows) + len(batch.refused) == len(batch.raw) == len(payloads)
    found: list[list[str]] = batch.refused.column("reasons").to_pylist()
    return found


@pytest.mark.parametrize(
    ("more", "raw"),
    [
        ({"time": {"kind": "epoch_s"}}, {"t": 1_738_566_900}),
        ({"time": {"kind": "strptime", "pattern": "%d.%m.%Y %H:%M", "timezone": "Europe/Vienna"}},
         {"t": "03.02.2025 08:15"}),
        ({"items_are_places": True, "event_type": "check_in"}, {"t": "2025-02-03T07:15:00Z"}),
    ],
    ids=["epoch", "wall clock", "check-ins"],
)  # fmt: skip
def test_an_event_has_one_id_by_both_roads(more: dict[str, Any], raw: dict[str, Any]) -> None:
    of = spec(**more)
    source = pa.table({"user_id": [7], "item_id": ["tea"], "occurred_at": [raw["t"]]})
    theirs = normalise(of, source).rows.to_pylist()[0]
    ours = payloads_to_batch([GOOD | {"user_id": 7}], of).rows.to_pylist()[0]
    assert ours == theirs
    assert ours["occurred_at"] == datetime(2025, 2, 3, 7, 15, tzinfo=UTC)


def test_what_is_told_is_kept_and_clocks_are_filled_in() -> None:
    of = spec(local_zone="Europe/Vienna", context={"rain_mm": "rain"})
    told = GOOD | {"utc_offset_min": -300, "value": 2.5, "context": {"rain_mm": 1.5}}
    one, two = payloads_to_batch([told, GOOD], of).rows.to_pylist()
    assert (one["utc_offset_min"], one["value"], one["rain_mm"]) == (-300, 2.5, 1.5)
    assert (two["utc_offset_min"], two["value"], two["rain_mm"]) == (60, None, None)


def test_garbage_is_refused_with_its_reason() -> None:
    told = reasons(
        "not json", [1, 2], None, {"user_id": {"a": 1}}, {**GOOD, "user_id": None},
        {**GOOD, "occurred_at": "soon"}, {**GOOD, "value": "much"}, {**GOOD, "lat": float("inf")},
    )  # fmt: skip
    assert told[:4] == [[NO_OBJECT]] * 4
    found = [each for (each,) in told[4:]]
    assert found == [
        "user_id is missing", "occurred_at cannot be read as timestamp",
        "value is not a number", "lat is not finite",
    ]  # fmt: skip


def test_the_refused_line_itself_is_kept() -> None:
    batch = payloads_to_batch([GOOD, '{"half": '], spec())
    assert batch.raw.column("unreadable").to_pylist() == [None, '{"half": ']
    assert batch.row_positions.tolist() == [0]


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
anything = st.recursive(plain, lambda of: st.lists(of) | st.dictionaries(st.text(), of))
names = st.sampled_from([*GOOD, "lat", "value", "utc_offset_min", "context", "other"])


@given(st.lists(st.dictionaries(names, anything) | anything, min_size=1, max_size=5))
def test_nothing_raises_and_nothing_is_lost(payloads: list[object]) -> None:
    batch = payloads_to_batch([json.loads(json.dumps(each)) for each in payloads], spec())
    seen = np.sort(np.r_[batch.row_positions, batch.refused.column("row").to_numpy()])
    assert seen.tolist() == list(range(len(payloads)))
