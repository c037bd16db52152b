"""Keys are told apart exactly, whatever they look like and however they lie in memory."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.ids import event_ids
from chronotope.lake.row_conformance import (
    first_occurrence_mask,
    is_in_sorted,
    key_hashes,
    repeated_positions,
)

DIGESTS = event_ids([pa.array(np.arange(1000) % 700)])
WORDS = pa.array(["a", "bb", None, "a", "", None, "c" * 40])


@pytest.mark.parametrize(
    "keys",
    [
        pa.chunked_array([DIGESTS]),
        pa.chunked_array([DIGESTS.slice(3, 5), DIGESTS.slice(690, 310)]),
        pa.chunked_array([WORDS, WORDS.slice(1, 3), DIGESTS.slice(1, 2)]),
        pa.chunked_array([], pa.string()),
    ],
)
def test_the_first_of_each_key_stays(keys: pa.ChunkedArray) -> None:
    listed = keys.to_pylist()
    expected = [key not in listed[:n] for n, key in enumerate(listed)]
    mask = first_occurrence_mask(keys)
    assert (np.ones(len(keys), bool) if mask is None else mask).tolist() == expected


def test_a_mask_is_given_only_where_a_key_repeats() -> None:
    assert first_occurrence_mask(pa.chunked_array([DIGESTS.slice(0, 700)])) is None


def test_a_clash_of_hashes_drops_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "chronotope.lake.row_conformance.key_hashes", lambda keys: np.zeros(len(keys), "u8")
    )
    assert first_occurrence_mask(pa.chunked_array([["x", "y", "x"]])).tolist() == [
        True,
        True,
        False,
    ]


def test_hashes_of_many_digests_differ() -> None:
    many = event_ids([pa.array(np.arange(200_000))])
    assert len(repeated_positions(key_hashes(pa.chunked_array([many])))) == 0


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.lists(st.integers(0, 40), max_size=30))
def test_numbers_are_looked_up_among_sorted_ones(known: list[int], asked: list[int]) -> None:
    numbers = np.array([*known[::2], *asked], np.uint64)
    sorted_numbers = np.unique(np.array([*known, *asked[::3]], np.uint64))
    expected = np.isin(numbers, sorted_numbers)
    assert is_in_sorted(numbers, sorted_numbers).tolist() == expected.tolist()
    assert not is_in_sorted(numbers, np.zeros(0, np.uint64)).any()
