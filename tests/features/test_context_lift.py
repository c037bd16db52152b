"""Lift of items under their item context: hand-counted, and shrunk to that of all items."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import IdMap
from chronotope.contracts.item_context import FOREVER_S, ItemContext, ItemContextColumn
from chronotope.features import context_lift
from chronotope.features.context_lift import SHRINKAGE, count_context_lift

COLUMNS = (
    ItemContextColumn(name="display", first=1, levels=("a",), default="no"),
    ItemContextColumn(name="mailer", first=2, levels=("b",), default="no"),
)
N_ITEMS = 4
WEEK = 100


def catalog_of(columns: tuple[ItemContextColumn, ...] = COLUMNS) -> Catalog:
    ids = IdMap(pa.array([f"i{number}" for number in range(N_ITEMS)]))
    nowhere = np.full(N_ITEMS + 1, np.nan)
    return Catalog(
        users=ids,
        items=ids,
        places=ids,
        categories=IdMap(pa.array(["c"])),
        item_category=np.ones(N_ITEMS + 1, np.int32),
        item_lat=nowhere,
        item_lon=nowhere,
        place_lat=nowhere,
        place_lon=nowhere,
        item_context=columns,
    )


def log_of(
    events: list[tuple[int, int, int]], rows: list[tuple[int, int, int, int, int, int]]
) -> EventLog:
    """Log of (item, place, second), with rows of (place, from, until, item, display, mailer)."""
    item, place, second = np.array(events).T
    log = EventLog.sorted(
        user_idx=np.ones(len(item), np.int32), item_idx=item, occurred_s=second, place_idx=place
    )
    table = np.array(rows)
    index = ItemContext.of_rows(
        COLUMNS,
        table[:, 0].astype(np.int32),
        table[:, 1].astype(np.int64),
        table[:, 2].astype(np.int64),
        table[:, 3].astype(np.int32),
        table[:, 4:].astype(np.uint16),
    )
    return replace(log, item_context=index)


def test_the_lift_is_that_of_counts_against_expected_ones() -> None:
    # item 1 is displayed in week 0 and bought 30 times there, 10 times in week 1 of equal traffic
    events = [(1, 1, 5)] * 30 + [(2, 1, 6)] * 20 + [(1, 1, 105)] * 10 + [(2, 1, 106)] * 40
    lift = count_context_lift(log_of(events, [(1, 0, WEEK, 1, 1, 0)]), catalog_of())
    displayed, default = (
        (30 + SHRINKAGE * 31 / 21) / (20 + SHRINKAGE),
        (10 + SHRINKAGE * 71 / 81) / (20 + SHRINKAGE),
    )
    assert lift.shape == (N_ITEMS + 1, 2)
    assert lift[1, 0] == pytest.approx(np.log(displayed / default), abs=1e-5)


def test_items_without_events_have_the_lift_of_all_items() -> None:
    events = [(1, 1, 5)] * 30 + [(2, 1, 6)] * 20 + [(1, 1, 105)] * 10 + [(2, 1, 106)] * 40
    lift = count_context_lift(log_of(events, [(1, 0, WEEK, 1, 1, 0)]), catalog_of())
    assert lift[3].tolist() == lift[0].tolist()
    assert 0 < lift[3, 0] < lift[1, 0]


def test_places_that_never_sell_an_item_do_not_count() -> None:
    at_one = [(1, 1, 5)] * 30 + [(2, 1, 6)] * 20 + [(1, 1, 105)] * 10 + [(2, 1, 106)] * 40
    rows = [(1, 0, WEEK, 1, 1, 0), (2, 0, WEEK, 1, 1, 0)]
    alone = count_context_lift(log_of(at_one, rows), catalog_of())
    beside = count_context_lift(log_of([*at_one, *[(2, 2, 7)] * 50], rows), catalog_of())
    assert beside[1, 0] == pytest.approx(alone[1, 0], abs=0.1)


def test_rows_of_everywhere_count_in_each_place_and_two_columns_are_another_state() -> None:
    events = [(1, place, 5) for place in (1, 2) for _ in range(20)]
    events += [(2, place, 105) for place in (1, 2) for _ in range(20)]
    lift = count_context_lift(log_of(events, [(0, 0, WEEK, 1, 1, 2)]), catalog_of())
    assert lift[1, 1] > 1.0  # it is bought in the weeks of both columns alone
    assert abs(lift[1, 0]) < abs(lift[1, 1])


def test_many_periods_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [(1 + (number % 7 == 0), 1, 10 * number) for number in range(400)]
    rows = [(1, 10 * number, 10 * number + 5, 2, 1, 0) for number in range(0, 400, 7)]
    counted = count_context_lift(log_of(events, rows), catalog_of())
    monkeypatch.setattr(context_lift, "MAX_PERIODS", 200)
    sampled = count_context_lift(log_of(events, rows), catalog_of())
    assert counted[2, 0] > 1.0
    assert sampled[2, 0] == pytest.approx(counted[2, 0], rel=0.5)


def test_without_item_context_there_are_no_states() -> None:
    log = log_of([(1, 1, 5)], [(1, 0, FOREVER_S, 1, 1, 0)])
    assert count_context_lift(log, catalog_of(())).shape == (N_ITEMS + 1, 0)
    no_rows = count_context_lift(replace(log, item_context=None), catalog_of())
    assert no_rows.tolist() == [[0.0, 0.0]] * (N_ITEMS + 1)
