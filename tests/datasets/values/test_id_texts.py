"""Ids are what the source says, by one rule for columns and for single texts."""

import uuid
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.id_rules import (
    HAS_CONTROL,
    LOST_DIGITS,
    MISSING,
    NOT_UTF8,
    canonical_id,
    id_problem,
)
from chronotope.datasets.values.id_texts import HAS_FRACTION, id_texts

UUID = uuid.UUID("bf8b4530-d8d2-46dd-74ac-53a13471bba1")
ODD = st.sampled_from(
    ["NULL", "nan", "", "7.0", "-0.0", "07.0", "1e+21", "1e5", "9007199254740992.0"]
)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([1234568.0]), "1234568"),
        (pa.array([-3.0], pa.float32()), "-3"),
        (pa.array([2**63 + 1], pa.uint64()), "9223372036854775809"),
        (pa.array([Decimal("5.00")]), "5"),
        (pa.array([UUID.bytes], pa.binary(16)), str(UUID)),
        (pa.array([UUID.bytes], pa.binary(16)).cast(pa.uuid()), str(UUID)),
        (pa.array([b"u1"]), "u1"),
        (pa.array(["u1"], pa.string_view()), "u1"),
        (pa.array(["u1"], pa.large_string()), "u1"),
        (pa.array(["17850.0"]), "17850"),
        (pa.array(["Cafe\u0301 "]), "Cafe\u0301 "),
        (pa.array(["007"]), "007"),
    ],
)
def test_ids_of_every_type(column: pa.Array, text: str) -> None:
    found = id_texts(column)
    assert (found.texts.to_pylist(), found.refusals) == ([text], {})


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pa.array([2.0**53]), LOST_DIGITS),
        (pa.array([1e21]), LOST_DIGITS),
        (pa.array([float("inf")]), LOST_DIGITS),
        (pa.array([16_777_216.0], pa.float32()), LOST_DIGITS),
        (pa.array([1.5]), HAS_FRACTION),
        (pa.array([Decimal("1.50")]), HAS_FRACTION),
        (pa.array([b"Caf\xe9"]), NOT_UTF8),
        (pa.array(["a\0"]), HAS_CONTROL),
        (pa.array(["NULL"]), f"{MISSING} (NULL)"),
        (pa.array([float("nan")]), MISSING),
        (pa.array([None], pa.binary()), MISSING),
    ],
)
def test_what_is_no_certain_id_is_refused(column: pa.Array, reason: str) -> None:
    found = id_texts(column)
    assert found.texts.to_pylist() == [None]
    assert {name: mask.tolist() for name, mask in found.refusals.items()} == {reason: [True]}


def test_null_words_can_be_allowed() -> None:
    assert id_texts(pa.array(["NULL", "x"]), ["x"]).texts.to_pylist() == ["NULL", None]
    assert id_texts(pa.array(["NULL"]), []).texts.to_pylist() == ["NULL"]


@given(st.lists(ODD | st.text(max_size=6) | st.from_regex(r"-?\d{1,18}(\.0)?", fullmatch=True)))
def test_columns_and_single_texts_follow_one_rule(texts: list[str]) -> None:
    found = id_texts(pa.array(texts, pa.string()))
    wanted = [None if id_problem(text) else canonical_id(text) for text in texts]
    assert found.texts.to_pylist() == wanted
    assert set(found.refusals) == {id_problem(text) for text in texts} - {None}
