"""Extractive summaries: central sentences of the text, within the length."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chronotope.content.summaries.extractive import cut_at_word, summarise, tfidf_sentences

TEXT = (
    "The bakery sells rye bread and fresh bread. A cat sat there. "
    "Its rye bread is fresh bread from the bakery. Nobody knew the time. The bakery sells rye."
)


@given(st.text(max_size=600), st.integers(40, 200))
def test_it_is_never_longer_than_the_bound(text: str, max_chars: int) -> None:
    assert len(summarise(text, max_chars)) <= max_chars


def test_the_central_sentence_is_chosen_and_short_texts_stay() -> None:
    assert "rye bread" in summarise(TEXT, 50)
    assert summarise("Short.  Text.", 50) == "Short. Text."


def test_sentences_keep_their_order_and_repetition_is_avoided() -> None:
    repeated = "Rye bread is good. " * 5 + "Tea is green. Coffee is dark."
    summary = summarise(repeated, 55)
    assert summary.count("Rye") == 1
    assert summary.index("Rye") < summary.index("is green" if "is green" in summary else "dark")


def test_one_long_sentence_is_cut_at_a_word() -> None:
    summary = summarise("word " * 100, 42)
    assert summary == "word " * 7 + "word\N{HORIZONTAL ELLIPSIS}"
    assert cut_at_word("abcdef", 4) == "abc\N{HORIZONTAL ELLIPSIS}"


def test_other_vectors_of_sentences_decide() -> None:
    def only_cats(sentences: list[str]) -> np.ndarray:
        return np.array([[float("cat" in sentence), 0.01] for sentence in sentences], np.float32)

    assert summarise(TEXT, 40, only_cats) != summarise(TEXT, 40)  # type: ignore[arg-type]
    assert np.allclose(np.linalg.norm(tfidf_sentences(["a b", "b"]), axis=1), 1)
