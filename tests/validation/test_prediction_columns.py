"""The suite of predictions accepts what a scoring writes, and nothing that is wrong."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronotope.contracts.predictions import PREDICTIONS
from chronotope.validation import check_table
from chronotope.validation.prediction_columns import derive_prediction_columns

SUITE = Path(__file__).parents[2] / "expectations" / "predictions.json"
ITEMS = pa.array([f"i{n}" for n in range(9)])
AT = datetime(2024, 1, 1, tzinfo=UTC)
Rows = list[dict[str, Any]]


def row(user: str, rank: int, **fields: Any) -> dict[str, Any]:
    values = {
        "user_id": user,
        "rank": rank,
        "item_id": f"i{rank}",
        "title": "",
        "probability": 0.3 / rank,
        "reason": "new to you",
        "is_new": True,
        "next_event_low_h": 1.0,
        "next_event_median_h": 2.0,
        "next_event_high_h": 3.0,
        "places": [{"place_id": "p", "probability": 0.5, "lat": None, "lon": None}],
        "n_history": 1,
        "n_unknown_items": 0,
        "scored_at": AT,
        "model_version": "1",
        "data_version": "events@0.00000000",
        "scoring_key": "k",
        "history_digest": 1,
    }
    return values | fields


def lists(*lengths: int) -> Rows:
    return [row(f"u{n}", rank) for n, k in enumerate(lengths) for rank in range(1, k + 1)]


def reasons(rows: Rows) -> set[str]:
    check = check_table(SUITE, derive=lambda table: derive_prediction_columns(table, ITEMS))
    failing = check(pa.Table.from_pylist(rows, PREDICTIONS)).failing
    return {reason for of in failing["reasons"].to_pylist() for reason in of}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 8), min_size=1, max_size=6), st.booleans(), st.booleans())
def test_complete_lists_pass(lengths: list[int], is_indexed: bool, has_time: bool) -> None:
    hours = {} if has_time else dict.fromkeys(("low", "median", "high"))
    fields: dict[str, Any] = {f"next_event_{name}_h": None for name in hours}
    if is_indexed:
        fields["probability"] = None
    assert reasons([of | fields for of in lists(*lengths)]) == set()


def changed(position: int, **fields: Any) -> Rows:
    rows = lists(3, 3)
    rows[position] |= fields
    return rows


WRONG = {
    "a probability lies in (0, 1]": [
        changed(0, probability=0.0),
        changed(0, probability=1.5),
        changed(5, probability=float("nan")),
        changed(0, probability=-0.1),
    ],
    "probabilities do not increase with the rank": [changed(1, probability=0.4)],
    "the probabilities of a list sum to at most 1": [
        [of | {"probability": 0.4} for of in lists(3)],
    ],
    "the ranks of a user are complete: 1, 2, 3, ...": [
        changed(1, rank=3),
        lists(3)[1:],
        [lists(3)[n] for n in (0, 2)],
    ],
    "ranks begin at 1": [changed(0, rank=0)],
    "a user has one list": [[*lists(2), row("u1", 1), row("u0", 1)]],
    "a list has an item once": [changed(1, item_id="i1")],
    "an item is in the catalogue of the model": [changed(1, item_id="unknown")],
    "user_id has 1 to 1024 characters": [[row("", 1)]],
    "the median lies within the interval of the next event": [
        changed(0, next_event_median_h=4.0),
        changed(0, next_event_low_h=None),
    ],
    "the next event is 0 hours to 10 years away": [
        changed(0, next_event_low_h=-2.0, next_event_median_h=-1.0)
    ],
    "the probabilities of the places sum to at most 1": [
        changed(0, places=[{"place_id": "p", "probability": 1.2, "lat": None, "lon": None}])
    ],
}


@pytest.mark.parametrize(
    ("reason", "rows"), [(reason, rows) for reason, of in WRONG.items() for rows in of]
)
def test_a_wrong_row_fails_for_its_reason(reason: str, rows: Rows) -> None:
    assert reason in reasons(rows)
