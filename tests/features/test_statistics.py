import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronotope.contracts.errors import NotEnoughData, SchemaError
from tests.features.event_statistics import offline_statistics, online_statistics

HOUR = 3_600_000_000  # microseconds
MONDAY = 4 * 24 * HOUR  # 1970-01-05 00:00 UTC was a Monday


def table(rows):
    """Events of (user, item, microseconds, place, lat, lon, session, category) rows."""
    names = ("user_id", "item_id", "occurred_at", "place_id", "lat", "lon", "session_id")
    types = (pa.string(), pa.string(), pa.timestamp("us", tz="UTC"), pa.string())
    types = (*types, pa.float64(), pa.float64(), pa.string(), pa.string())
    columns = list(zip(*rows, strict=True)) if rows else [[]] * 8
    arrays = {
        name: pa.array(column, type=kind)
        for name, column, kind in zip((*names, "category"), columns, types, strict=True)
    }
    ids = [f"{position:04d}" for position in range(len(rows))]
    return pa.table({"event_id": ids, "event_type": ["visit"] * len(rows)} | arrays)


def by_id(statistics):
    return {row["event_id"]: row for row in statistics.to_pylist()}


VISITS = [
    ("u", "a", MONDAY + 30 * HOUR, "p", 0.0, 0.0, "s", "x"),
    ("u", "b", MONDAY + 32 * HOUR, "p", 1.0, 0.0, "s", "x"),
    ("u", "a", MONDAY + 32 * HOUR, "q", 1.0, 0.0, "s", None),
    ("u", "a", MONDAY + 33 * HOUR, None, None, None, None, "x"),
    ("v", "a", MONDAY + 31 * HOUR, "p", 5.0, 5.0, "s", "x"),
]


def test_statistics_by_hand():
    rows = by_id(offline_statistics(table(VISITS)))
    second = rows["0001"]
    assert (second["local_hour"], second["hour_of_week"], second["gap_h"]) == (8.0, 32, 2.0)
    assert second["distance_km"] == pytest.approx(111.195, rel=1e-5)
    assert second["speed_km_h"] == pytest.approx(55.597, rel=1e-4)
    counts = ("session_position", "n_user", "n_user_item", "n_user_place", "n_user_category")
    assert [second[name] for name in counts] == [1, 1, 0, 1, 1]
    assert [rows["0002"][name] for name in counts] == [1, 1, 1, 0, None]
    assert [rows["0003"][name] for name in counts] == [None, 3, 2, None, 2]
    assert rows["0003"]["distance_km"] is None
    assert [rows["0004"][name] for name in ("gap_h", "n_user", "distance_km")] == [None, 0, None]


def test_local_time_follows_the_offset_across_midnight():
    events = table([VISITS[0]]).append_column("utc_offset_min", pa.array([-450]))
    row = offline_statistics(events).to_pylist()[0]
    assert (row["local_hour"], row["hour_of_week"]) == (22.5, 22)


VISIT = st.tuples(
    st.sampled_from("uv"),
    st.sampled_from("ab"),
    st.integers(0, 6).map(lambda h: MONDAY + h * HOUR),
    st.sampled_from([None, "p", "q"]),
    st.sampled_from([0.0, 1.0, None]),
    st.sampled_from([2.0, 3.0]),
    st.sampled_from([None, "s"]),
    st.sampled_from([None, "x"]),
)


def in_time(table_):
    return table_.sort_by([("occurred_at", "ascending"), ("event_id", "ascending")])


@settings(max_examples=5, deadline=None)
@given(st.lists(VISIT, min_size=5, max_size=10))
def test_online_equals_offline_at_every_moment(visits):
    events = in_time(table(visits))
    expected = by_id(offline_statistics(events))
    user = np.array(events["user_id"].to_pylist())
    for end in range(1, len(events) + 1):
        history = events.take(np.flatnonzero(user[:end] == user[end - 1]))
        row = online_statistics(history)
        assert row == expected[events["event_id"][end - 1].as_py()]


@settings(max_examples=10, deadline=None)
@given(st.lists(VISIT, min_size=1, max_size=8), st.lists(VISIT, max_size=8))
def test_the_future_changes_nothing(past, future):
    later = [(u, i, t + 7 * HOUR, *rest) for u, i, t, *rest in future]
    before, after = offline_statistics(table(past)), by_id(offline_statistics(table(past + later)))
    assert [after[row["event_id"]] for row in before.to_pylist()] == before.to_pylist()


def test_a_planted_future_feature_is_not_seen():
    """An item only ever met in the future leaves the counts of the past at zero."""
    planted = [("u", "a", MONDAY + (40 + h) * HOUR, "p", 0.0, 0.0, "s", "x") for h in range(50)]
    rows = by_id(offline_statistics(table([VISITS[1], *planted])))
    assert (rows["0000"]["n_user_item"], rows["0000"]["n_user_place"]) == (0, 0)
    assert rows["0050"]["n_user_item"] == 49


def test_events_of_one_basket_do_not_see_each_other():
    basket = [("u", "a", MONDAY, "p", 0.0, 0.0, "s", "x")] * 3
    assert set(offline_statistics(table(basket))["n_user_item"].to_pylist()) == {0}


def test_empty_foreign_and_incomplete_histories_are_refused():
    with pytest.raises(NotEnoughData, match="no event"):
        online_statistics(table([]))
    with pytest.raises(SchemaError, match="one user"):
        online_statistics(table(VISITS))
    with pytest.raises(SchemaError, match="item_id"):
        offline_statistics(table(VISITS).drop_columns("item_id"))
