"""Sentences of texts in several languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.content.summaries.sentences import split_sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Who met J. Doe. It rained.", ["Dr. Who met J. Doe.", "It rained."]),
        ("He paid 3.50 e.g. for tea. Done.", ["He paid 3.50 e.g. for tea.", "Done."]),
        ("Er kam z.B. um 9 Uhr. Über allem.", ["Er kam z.B. um 9 Uhr.", "Über allem."]),
        ("雨です。終わり\uff01はい", ["雨です。", "終わり\uff01", "はい"]),
        ("Он пришёл. Она ушла.", ["Он пришёл.", "Она ушла."]),
        ("यह है। वह है।", ["यह है।", "वह है।"]),
        ("A title\nA line", ["A title", "A line"]),
        ("«Non.» Elle part.", ["«Non.»", "Elle part."]),
        ("", []),
    ],
)
def test_sentences_end_where_they_should(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


@given(st.text(max_size=200))
def test_nothing_but_spaces_is_lost(text: str) -> None:
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())
