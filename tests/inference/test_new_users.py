"""Liked items as the latest events of a history, and attributes of users of the lake."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from chronotope.contracts.user_attributes import AttributeColumn
from chronotope.inference.history import UserHistory
from chronotope.inference.new_users import UserLevels, liked_notes, with_liked_items
from chronotope.lake import Lake

REQUEST_S = 1_000_000
COLUMNS = (
    AttributeColumn(name="age", first=1, levels=("below 30", "30 or more"), edges=(30.0,)),
    AttributeColumn(name="region", first=3, levels=("north", "south")),
)


def history(*seconds: int) -> UserHistory:
    n_events = len(seconds)
    return UserHistory(
        np.full(n_events, 7, np.int32),
        np.full(n_events, 2, np.int32),
        np.array(seconds, np.int64),
        np.full(n_events, 60, np.int32),
    )


def test_likes_follow_the_events_minutes_before_the_request() -> None:
    liked = with_liked_items(
        history(5, 10), np.array([4, 0, 5], np.int32), REQUEST_S, items_are_places=False
    )
    assert liked.item_idx.tolist() == [7, 7, 4, 5]
    assert liked.occurred_s.tolist() == [5, 10, REQUEST_S - 120, REQUEST_S - 60]
    assert liked.place_idx.tolist() == [2, 2, 2, 2]
    assert liked.utc_offset_min.tolist() == [60, 60, 60, 60]


def test_likes_are_never_before_an_event() -> None:
    liked = with_liked_items(
        history(REQUEST_S - 1), np.array([4, 5], np.int32), REQUEST_S, items_are_places=True
    )
    assert (np.diff(liked.occurred_s) >= 0).all()
    assert liked.place_idx.tolist() == [2, 4, 5]


def test_without_known_likes_the_history_is_the_same_object() -> None:
    events = history(5)
    unknown = np.zeros(2, np.int32)
    assert with_liked_items(events, unknown, REQUEST_S, items_are_places=False) is events
    assert liked_notes(["a", "b"], unknown) == ("2 of 2 liked items are unknown to the model.",)
    assert liked_notes(["a"], np.array([3], np.int32)) == ()


def test_levels_of_the_lake_are_read_once_or_for_one_user(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert UserLevels.read(lake, COLUMNS).context("u1", {}) == {}
    lake.upsert_users(pa.table({"user_id": ["u2", "u1", "u3"], "age": [40.0, 20.0, None]}))
    everyone = UserLevels.read(lake, COLUMNS)
    assert everyone.context("u1", {}) == {"user.age": 1.0}
    assert everyone.context("u2", {"region": "south"}) == {"user.age": 2.0, "user.region": 4.0}
    assert everyone.context("u2", {"age": 5}) == {"user.age": 1.0}
    assert everyone.context("u3", {}) == {}
    assert everyone.context("u' OR true", {}) == {}
    assert UserLevels.read(lake, COLUMNS, "u2").context("u2", {}) == {"user.age": 2.0}
    assert UserLevels.read(lake, COLUMNS, "u2").context("u1", {}) == {}
    assert UserLevels.read(lake, ()).context("u1", {}) == {}
