"""Numbers with their separators, and the hints for those that cannot be read."""

import pyarrow as pa
import pytest

from chronotope.datasets.values.numbers import as_numbers, number_hint


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "number"),
    [
        ("48,2082", ",", None, 48.2082), ("1.234,50", ",", ".", 1234.5),
        ("1,234.5", ".", ",", 1234.5),
        ("1\u202f234,5", ",", " ", 1234.5), ("1'234.5", ".", "'", 1234.5), ("+5", ".", None, 5.0),
        ("48.2", ",", None, None), ("1,23", ".", ",", None), ("1.2.3", ",", ".", None),
        ("12 EUR", ".", None, None), ("0x1F", ".", None, None),
    ],
)  # fmt: skip
def test_separators(text: str, decimal: str, thousands: str | None, number: float | None) -> None:
    assert as_numbers(pa.array([text]), decimal, thousands).to_pylist() == [number]


@pytest.mark.parametrize(
    ("text", "hint"),
    [("48,2082", "decimal"), ("1.234,5", "thousands"), ("1,234.5", "thousands"), ("x", "")],
)
def test_the_hint_names_the_option(text: str, hint: str) -> None:
    found = number_hint(pa.array([text]), ".")
    assert hint in found
    assert bool(found) == bool(hint)
