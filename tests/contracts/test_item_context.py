from pathlib import Path

import numpy as np
import pytest

from chronotope.contracts.event_log import EventLog
from chronotope.contracts.item_context import FOREVER_S, ItemContext, ItemContextColumn
from chronotope.contracts.queries import PLACE_HALF_LIFE_D, Queries, expected_places, queries_at

COLUMNS = (ItemContextColumn(name="promo", first=1, levels=("a", "b", "c"), default="no"),)


def index_of(*rows: tuple[int, int, int, int, int]) -> ItemContext:
    """Index of rows (place, from, until, item, level)."""
    table = np.array(rows, np.int64).reshape(-1, 5)
    place, start, end, item, level = table.T
    return ItemContext.of_rows(
        COLUMNS,
        place.astype(np.int32),
        start,
        end,
        item.astype(np.int32),
        level.astype(np.uint16)[:, None],
    )


def levels_at(index: ItemContext, place: int, moment_s: int) -> dict[int, int]:
    """Level of each item of a request that has a row."""
    rows = index.at(np.array([place]), np.array([moment_s]))
    pairs = zip(rows.item_idx[0].tolist(), rows.levels[0, :, 0].tolist(), strict=True)
    return {item: level for item, level in pairs if item}


@pytest.mark.parametrize(
    ("moment_s", "expected"), [(99, {}), (100, {7: 1}), (199, {7: 1}), (200, {})]
)
def test_a_row_counts_from_its_start_until_before_its_end(
    moment_s: int, expected: dict[int, int]
) -> None:
    assert levels_at(index_of((3, 100, 200, 7, 1)), 3, moment_s) == expected


def test_rows_of_another_place_do_not_count() -> None:
    assert levels_at(index_of((3, 100, 200, 7, 1)), 4, 150) == {}
    assert levels_at(index_of((3, 100, 200, 7, 1)), 0, 150) == {}


def test_the_place_counts_before_everywhere_and_a_later_start_before_an_earlier_one() -> None:
    index = index_of(
        (3, 100, FOREVER_S, 7, 1),
        (3, 150, FOREVER_S, 7, 2),
        (0, 160, FOREVER_S, 7, 3),
        (0, 160, FOREVER_S, 8, 3),
    )
    assert levels_at(index, 3, 140) == {7: 1}
    assert levels_at(index, 3, 170) == {7: 2, 8: 3}
    assert levels_at(index, 5, 170) == {7: 3, 8: 3}


def test_of_equal_keys_the_last_row_counts() -> None:
    index = index_of((3, 100, 200, 7, 1), (3, 100, 200, 7, 2))
    assert len(index) == 1
    assert levels_at(index, 3, 150) == {7: 2}


def test_an_index_is_the_same_after_it_was_stored(tmp_path: Path) -> None:
    index = index_of((3, 100, 200, 7, 1), (0, 100, 200, 9, 2))
    index.save(tmp_path)
    stored = ItemContext.load(tmp_path)
    assert stored.columns == COLUMNS
    assert levels_at(stored, 3, 150) == levels_at(index, 3, 150) == {7: 1, 9: 2}


def test_queries_have_the_rows_of_their_moment_and_expected_place() -> None:
    log = EventLog.sorted(user_idx=[1, 1], item_idx=[1, 2], occurred_s=[100, 200], place_idx=[3, 4])
    index = index_of((3, 150, 300, 7, 1), (4, 150, 300, 8, 1), (3, 201, 300, 9, 1))
    log = EventLog(**{name: getattr(log, name) for name in log.__slots__} | {"item_context": index})
    queries = queries_at(log, np.array([1]), history_len=None, time_given=True)
    assert queries.context_item_idx is not None
    assert queries.context_item_idx.tolist() == [[7]]  # not 9, which starts a second later
    hidden = queries_at(log, np.array([1]), history_len=None, time_given=False)
    assert hidden.context_item_idx is None
    copied = Queries.of_arrays(queries.arrays())
    assert copied.context_levels is not None
    assert copied.context_levels.tolist() == [[[1]]]


@pytest.mark.parametrize(
    ("places", "days", "given", "expected"),
    [
        ([4, 4, 3], [1, 2, 3], 0, 4),
        ([4, 4, 3], [1, 2, 3 + 2 * PLACE_HALF_LIFE_D], 0, 3),
        ([4, 4, 0], [1, 2, 3], 0, 4),
        ([4, 4, 3], [1, 2, 3], 5, 5),
        ([0, 0, 0], [1, 2, 3], 0, 0),
    ],
    ids=["frequent", "recent", "unknown_last", "given", "none"],
)
def test_the_expected_place_is_the_given_or_the_frequent_one(
    places: list[int], days: list[float], given: int, expected: int
) -> None:
    seconds = [int(86_400 * day) for day in days]
    target = {"item": 1, "place": given, "second": seconds[-1] + 60}
    log = EventLog.sorted(
        user_idx=[1] * 4,
        item_idx=[2, 2, 2, target["item"]],
        occurred_s=[*seconds, target["second"]],
        place_idx=[*places, target["place"]],
    )
    queries = queries_at(log, np.array([3, 0]), history_len=8, time_given=True, place_given=True)
    assert expected_places(queries)[0] == expected
    assert expected_places(queries)[1] == places[0]  # without a history: what is given
