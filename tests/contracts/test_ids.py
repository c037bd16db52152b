"""Stable event ids and the bridge between ids and indices."""

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.ids import IdMap, event_ids

WORDS = st.lists(st.none() | st.text(max_size=6), min_size=1, max_size=30)


def column(values: list[str | None]) -> pa.Array:
    return pa.array(values, type=pa.string())


def test_the_id_of_a_row_never_changes() -> None:
    when = pa.array([1_700_000_000_000_000], type=pa.timestamp("us", tz="UTC"))
    ids = event_ids([column(["u1"]), column(["i1"]), when])
    assert ids.to_pylist() == ["4f2714ac9fd02b74cc8a539045f6f438"]


@given(WORDS)
def test_equal_rows_have_equal_ids_and_others_differ(words: list[str | None]) -> None:
    ids = event_ids([column(words)]).to_pylist()
    assert all(len(one) == 32 for one in ids)
    assert len(set(ids)) == len(set(words))


@given(WORDS, st.randoms(use_true_random=False))
def test_an_id_does_not_depend_on_the_other_rows(words: list[str | None], random: object) -> None:
    alone = [event_ids([column([word])])[0].as_py() for word in words]
    assert event_ids([column(words)]).to_pylist() == alone


def test_the_order_of_columns_matters() -> None:
    one, other = column(["a"]), column(["b"])
    assert event_ids([one, other]) != event_ids([other, one])


def test_a_null_is_no_empty_string_and_no_word() -> None:
    ids = event_ids([column([None, "", "null", "None"])]).to_pylist()
    assert len(set(ids)) == 4


def test_chunks_make_no_difference() -> None:
    whole = column(["a", "b", None, "a"])
    chunked = pa.chunked_array([whole.slice(0, 1), whole.slice(1)])
    assert event_ids([chunked]) == event_ids([whole])


@pytest.mark.parametrize("n_rows", [0, 1])
def test_short_columns_are_fine(n_rows: int) -> None:
    assert len(event_ids([column(["a"] * n_rows)])) == n_rows


@given(WORDS)
def test_an_id_map_goes_there_and_back(words: list[str | None]) -> None:
    ids = IdMap.of(column(words))
    back = [ids.name(index) for index in ids.index(column(words)).tolist()]
    assert back == words


def test_unknown_and_null_are_index_zero() -> None:
    ids = IdMap.of(["b", "a"])
    assert ids.index(column(["a", "b", "z", None])).tolist() == [1, 2, 0, 0]
    assert ids.name(0) is None


def test_digests_never_change() -> None:
    """Ids as the first release made them: a lake filled then must recognise its events."""
    assert event_ids([pa.array(["a"]), pa.array([None], pa.int64())]).to_pylist() == [
        "9aaa2634110367eaeb94a263ff0c34f0"
    ]
    n = 40_000  # more than one block
    ids = event_ids([pa.array(range(n)).cast(pa.string()), pa.array(range(n))])
    assert hashlib.sha256("".join(ids.to_pylist()).encode()).hexdigest()[:16] == "a0caf0d18434620a"
