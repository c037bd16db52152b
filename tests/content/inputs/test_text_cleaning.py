"""Texts that shops and their customers write."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.content.inputs.text_cleaning import clean_text


@pytest.mark.parametrize(
    ("raw_text", "cleaned_text"),
    [
        ("  two \n\t words ", "two words"),
        ("<p>One</p><br/>two", "One two"),
        ("a < b and c > d", "a < b and c > d"),
        ("x<!-- a <b> comment -->y", "x y"),
        ("x<SCRIPT src='a'>alert(1)</SCRIPT >y", "x y"),
        ("x<style>p {}</style>y", "x y"),
        ("x<script>never closed", "x"),
        ("5 &gt; 3 &amp; m&uuml;sli", "5 > 3 & müsli"),
        ("e\u0301", "é"),
        ("a\x00b\x1fc\u200bd\ufeff", "a b cd"),
        ("soft\u00adhyphen", "softhyphen"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("\ud800lone", "lone"),
        ("日本語 ไทย \u0639\u0631", "日本語 ไทย \u0639\u0631"),
        ("", ""),
        ("<><>", "<><>"),
    ],
)
def test_what_is_visible_remains(raw_text: str, cleaned_text: str) -> None:
    assert clean_text(raw_text, 1_000) == cleaned_text


def test_a_long_text_is_cut() -> None:
    assert clean_text("ab " * 1_000, 5) == "ab ab"
    assert clean_text("x" * 2_000_000, 20_000) == "x" * 20_000


@pytest.mark.parametrize(
    "part", ["<", "<script>", "<!--", "<style", "&", "&#", "<a ", "</", "e\u0301\u0300"]
)
def test_no_text_takes_long(part: str) -> None:
    started_s = time.process_time()
    clean_text(part * (1_000_000 // len(part)), 20_000)
    assert time.process_time() - started_s < 2


@given(st.text(), st.integers(1, 50))
def test_any_text_becomes_a_clean_one(raw_text: str, max_chars: int) -> None:
    cleaned_text = clean_text(raw_text, max_chars)
    assert len(cleaned_text) <= max_chars
    assert cleaned_text == cleaned_text.strip()
    assert "  " not in cleaned_text
    assert all(unicodedata.category(character) != "Cc" for character in cleaned_text)
    cleaned_text.encode()
