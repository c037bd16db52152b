"""The service refuses exactly the events that ingestion would quarantine for their own values."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from chronotope.contracts import event_bounds
from chronotope.contracts.clock import MAX_CLOCK_SKEW
from chronotope.datasets.spec import DatasetSpec
from chronotope.feedback.payloads import payloads_to_batch
from chronotope.serving.api.requests import PostedEvent, PostedRecords
from chronotope.validation import check_events

SUITE = Path("expectations/events.json")
SPEC = DatasetSpec.model_validate(
    {
        "name": "t", "description": "t", "licence": "t",
        "events": {"format": "csv", "path": "x",
                   "columns": {"user_id": "a", "item_id": "b", "occurred_at": "c"}},
    }
)  # fmt: skip
BODY: TypeAdapter[Any] = TypeAdapter(PostedRecords)
GOOD = {"kind": "event", "key": "k", "user_id": "u", "item_id": "i",
        "occurred_at": "2024-03-04T08:00:00Z"}  # fmt: skip
IDS = st.sampled_from(
    ["NULL", "nan", "", "u", "7.0", "1e+21", "9007199254740992.0", "a\0", "a\tb", "x" * 1_024,
     "x" * 1_025, " ", "Cafe\u0301", "-", 5, -5, 2**70]
)  # fmt: skip
NOW = datetime.now(UTC)
EARLY = st.builds(
    lambda shift_s: event_bounds.EARLIEST_TIME + timedelta(seconds=shift_s),
    st.sampled_from([-86_400, -60, -1, 0, 1, 60, 86_400]),
)
# Hours from the bound, because the clock of the service goes on while the test runs.
LATE = st.builds(
    lambda shift_h: NOW + MAX_CLOCK_SKEW + timedelta(hours=shift_h),
    st.sampled_from([-24, -2, 2, 24]),
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "user_id": IDS, "item_id": IDS, "event_type": IDS, "place_id": IDS, "session_id": IDS,
        "utc_offset_min": st.sampled_from([0, 840, 841, -840, -841, 1_440]),
        "lat": st.sampled_from([0.0, 90.0, 90.001, -90.0, -90.001, 120.0]),
        "lon": st.sampled_from([0.0, 180.0, 180.001, -180.0, -180.001]),
        "value": st.sampled_from([0, -1.5, 1e308]),
        "occurred_at": st.one_of(EARLY, LATE).map(datetime.isoformat),
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def row_check() -> Any:
    return check_events(SUITE, checked_at=NOW)


@settings(deadline=None, max_examples=60)
@given(events=st.lists(CHANGES, min_size=1, max_size=12))
def test_the_service_and_the_ingestion_agree(row_check: Any, events: list[dict[str, Any]]) -> None:
    bodies = [GOOD | change for change in events]
    batch = payloads_to_batch(bodies, SPEC)
    quarantined = set(batch.refused["row"].to_pylist())
    if len(batch.rows):
        failing = row_check(batch.rows).failing["row"].to_pylist()
        quarantined |= {int(batch.row_positions[row]) for row in failing}
    accepted = {idx for idx, body in enumerate(bodies) if _is_accepted(body)}
    assert accepted == set(range(len(bodies))) - quarantined


def _is_accepted(body: dict[str, Any]) -> bool:
    try:
        record = BODY.validate_json(json.dumps(body))
    except ValidationError:
        return False
    assert isinstance(record, PostedEvent)
    # What is stored has the ids of the event in the lake.
    rows = payloads_to_batch([record.model_dump(mode="json")], SPEC).rows
    stored = (rows["user_id"][0].as_py(), rows["item_id"][0].as_py(), rows["place_id"][0].as_py())
    assert stored == (record.user_id, record.item_id, record.place_id)
    return True


def test_the_suites_have_the_common_bounds() -> None:
    suites = {name: json.loads(Path(f"expectations/{name}.json").read_text())
              for name in ("events", "items", "users")}  # fmt: skip
    bounds = {
        "utc_offset_min": (-event_bounds.MAX_UTC_OFFSET_MIN, event_bounds.MAX_UTC_OFFSET_MIN),
        "lat": (-event_bounds.MAX_LAT_DEG, event_bounds.MAX_LAT_DEG),
        "lon": (-event_bounds.MAX_LON_DEG, event_bounds.MAX_LON_DEG),
        **{f"{name}_length": (1, event_bounds.MAX_ID_CHARS)
           for name in ("event_id", "user_id", "item_id", "event_type")},
    }  # fmt: skip
    for suite in suites.values():
        for expectation in suite["expectations"]:
            kwargs = expectation["kwargs"]
            if kwargs.get("column") in bounds:
                assert (kwargs["min_value"], kwargs["max_value"]) == bounds[kwargs["column"]]
    every = [expectation["kwargs"] for expectation in suites["events"]["expectations"]]
    (times,) = [
        kwargs for kwargs in every if kwargs.get("column") == "occurred_s" and "max_value" in kwargs
    ]
    assert times["min_value"] == event_bounds.EARLIEST_TIME.timestamp()


@pytest.mark.parametrize("user_id", [1.5, 17850.0, True])
def test_numbers_that_are_no_integers_are_refused_as_ids(user_id: object) -> None:
    with pytest.raises(ValidationError, match="an id is a text or an integer"):
        BODY.validate_json(json.dumps(GOOD | {"user_id": user_id}))
