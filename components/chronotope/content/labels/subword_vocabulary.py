"""Tokenizer learned from the catalogue: frequent words, and parts of all others."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np

from chronotope.content.encoders.onnx_text_encoder import Tokens, TokenWindows
from chronotope.content.encoders.tfidf_encoder import split_words

PADDING: Final = 0
FIRST: Final = 1
LAST: Final = 2
N_SPECIAL: Final = 3

_PART_CHARS: Final = 3


@dataclass(frozen=True)
class SubwordVocabulary:
    """Words and parts of words, by position; the first positions are special tokens.

    Attributes:
        pieces: The vocabulary after the special tokens.
    """

    pieces: tuple[str, ...]

    @classmethod
    def fit(cls, texts: Sequence[str], *, max_pieces: int) -> Self:
        """Vocabulary of the most frequent words and parts.

        Args:
            texts: Cleaned texts.
            max_pieces: Largest size of the vocabulary.
        """
        word_counts = Counter(
            text_word for document_text in texts for text_word in split_words(document_text)
        )
        piece_counts = Counter({text_word: n for text_word, n in word_counts.items() if n > 1})
        for text_word, n_words in word_counts.items():
            for word_part in _parts(text_word):
                piece_counts[word_part] += n_words
        ordered_pieces = sorted(piece_counts.items(), key=lambda entry: (-entry[1], entry[0]))
        return cls(tuple(vocabulary_piece for vocabulary_piece, _ in ordered_pieces[:max_pieces]))

    @property
    def size(self) -> int:
        """Number of tokens, special ones included."""
        return N_SPECIAL + len(self.pieces)

    def encode_batch(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, without special tokens; unknown parts are left out.

        Args:
            texts: Cleaned texts.
        """
        return [
            np.array(
                [
                    piece_token
                    for text_word in split_words(document_text)
                    for piece_token in self._word_tokens(text_word)
                ],
                dtype=np.int64,
            )
            for document_text in texts
        ]

    def windows(self, max_tokens: int) -> TokenWindows:
        """Windows with this vocabulary's special tokens.

        Args:
            max_tokens: Length of a window.
        """
        return TokenWindows(FIRST, LAST, PADDING, max_tokens, overlap=0)

    def _word_tokens(self, word: str) -> list[int]:
        if word in self._positions:
            return [self._positions[word]]
        return [
            self._positions[word_part] for word_part in _parts(word) if word_part in self._positions
        ]

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {
            vocabulary_piece: piece_position
            for piece_position, vocabulary_piece in enumerate(self.pieces, N_SPECIAL)
        }


def _parts(word: str) -> Iterator[str]:
    """Parts of three characters, with ``#`` at the ends, distinguished from words by ``~``."""
    marked_word = f"#{word}#"
    for part_start in range(max(1, len(marked_word) - _PART_CHARS + 1)):
        yield f"~{marked_word[part_start : part_start + _PART_CHARS]}"
