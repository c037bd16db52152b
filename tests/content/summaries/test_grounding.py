"""Statements of a generated text that its source does not hold."""

import pytest

from chronotope.content.summaries.grounding import grounded_attributes, unsupported_statements

SOURCE = "Anna Berg opened the café in 1987. It seats 1,200 people; tickets cost 3.50 euros in NYC."


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("Opened in 1987 by Anna Berg.", ()),
        ("Opened in 1978 by Anna Berg.", ("1978",)),
        ("A café of Peter Berg.", ("Peter",)),
        ("It seats 1200 people.", ()),
        ("It costs 35 euros.", ("35",)),
        ("It costs 3.50 euros in NYC.", ()),
        ("USA has it.", ("USA",)),
        ("Berg's café.", ()),
        ("A fine place. Tickets cost little.", ()),
        ("", ()),
    ],
)
def test_numbers_and_names_have_to_occur(summary: str, expected: tuple[str, ...]) -> None:
    assert unsupported_statements(summary, SOURCE) == expected


def test_attribute_values_are_whole_words_of_the_source_in_any_case() -> None:
    attributes = {"colour": "DARK RED", "size": "XL", "part": "red", "empty": " ", "cut": "ark"}
    grounded, reasons = grounded_attributes(attributes, "A Dark-red shirt.")
    assert grounded == {"colour": "DARK RED", "part": "red"}
    assert set(reasons) == {"size", "empty", "cut"}
