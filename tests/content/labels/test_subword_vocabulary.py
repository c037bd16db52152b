"""Own tokenizer: words of the catalogue, and parts of unknown ones."""

import numpy as np

from chronotope.content.labels.subword_vocabulary import N_SPECIAL, SubwordVocabulary

TEXTS = ["green tea", "green bread", "rye bread"]


def test_frequent_words_are_one_token_and_rare_ones_their_parts() -> None:
    vocabulary = SubwordVocabulary.fit(TEXTS, max_pieces=1_000)
    green, tea = vocabulary.encode_batch(["Green", "tea"])
    assert len(green) == 1
    assert len(tea) == 3  # #te, tea, ea#
    assert green.min() >= N_SPECIAL
    assert max(green.max(), tea.max()) < vocabulary.size


def test_unknown_characters_leave_no_token() -> None:
    vocabulary = SubwordVocabulary.fit(TEXTS, max_pieces=1_000)
    (tokens,) = vocabulary.encode_batch(["ЖЖЖ"])
    assert tokens.dtype == np.int64
    assert len(tokens) == 0


def test_the_vocabulary_is_bounded() -> None:
    assert SubwordVocabulary.fit(TEXTS, max_pieces=4).size == N_SPECIAL + 4
