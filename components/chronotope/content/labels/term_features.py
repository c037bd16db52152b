"""TF-IDF features of texts: words, word pairs and parts of words, as padded rows of a graph."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from chronotope.content.encoders.tfidf_encoder import split_words

MAX_WORDS: Final = 400
"""Words of a text that are read; bounds the length of a row."""

_PART_LENGTHS: Final = (3, 4)


class TermRows(NamedTuple):
    """Terms of texts, padded with weight 0.

    Attributes:
        term_ids: Position of each term in the vocabulary, shape (n, n_terms of the longest).
        weights: TF-IDF weights, each row of length 1, same shape.
    """

    term_ids: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]


@dataclass(frozen=True)
class TermFeatures:
    """Vocabulary of terms with their inverse document frequencies.

    Attributes:
        terms: The vocabulary, in the order of its positions.
        inverse_frequency: Inverse document frequency of each term, shape (n_terms,).
    """

    terms: tuple[str, ...]
    inverse_frequency: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, texts: Sequence[str], *, max_terms: int, min_texts: int = 1) -> Self:
        """Vocabulary of the most frequent terms.

        Args:
            texts: Cleaned texts.
            max_terms: Largest size of the vocabulary.
            min_texts: Texts in which a part of a word has to occur; words need one.
        """
        document_counts: Counter[str] = Counter()
        for document_text in texts:
            document_counts.update(set(text_terms(document_text)))
        # Counts of equal size are ordered by name, so that equal texts give an equal vocabulary.
        ordered_terms = sorted(document_counts.items(), key=lambda entry: (-entry[1], entry[0]))
        chosen_terms = [entry for entry in ordered_terms if entry[1] >= min_texts][:max_terms]
        term_counts = np.array([term_count for _, term_count in chosen_terms], dtype=np.float64)
        inverse_frequency = np.log((1 + len(texts)) / (1 + term_counts)) + 1
        return cls(tuple(term for term, _ in chosen_terms), inverse_frequency.astype(np.float32))

    @cached_property
    def digest(self) -> str:
        """Digest of the vocabulary and its weights."""
        term_digest = hashlib.sha256(json.dumps(self.terms).encode("utf-8", "surrogatepass"))
        term_digest.update(self.inverse_frequency.tobytes())
        return term_digest.hexdigest()

    def rows(self, texts: Sequence[str]) -> TermRows:
        """TF-IDF weights of texts; a text without a known term has a row of zeros.

        Args:
            texts: Cleaned texts.
        """
        text_counts = [
            Counter(
                self._positions[term]
                for term in text_terms(document_text)
                if term in self._positions
            )
            for document_text in texts
        ]
        row_width = max([1, *map(len, text_counts)])
        term_ids = np.zeros((len(texts), row_width), dtype=np.int64)
        row_weights = np.zeros((len(texts), row_width), dtype=np.float32)
        for term_row, term_counts in enumerate(text_counts):
            if term_counts:
                term_positions = np.fromiter(term_counts.keys(), np.int64, len(term_counts))
                term_frequencies = np.fromiter(term_counts.values(), np.float32, len(term_counts))
                term_weights = (1 + np.log(term_frequencies)) * self.inverse_frequency[
                    term_positions
                ]
                term_ids[term_row, : len(term_counts)] = term_positions
                row_weights[term_row, : len(term_counts)] = term_weights / np.linalg.norm(
                    term_weights
                )
        return TermRows(term_ids, row_weights)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {term: word_position for word_position, term in enumerate(self.terms)}


def text_terms(text: str) -> Iterator[str]:
    """Terms of a text: its words, pairs of neighbours, and parts of words.

    Args:
        text: Cleaned text.

    Example:
        >>> list(text_terms("Ice cup"))[:6]
        ['ice', 'ice cup', '~#ic', '~ice', '~ce#', '~#ice']
    """
    text_words = split_words(text)[:MAX_WORDS]
    for word_position, text_word in enumerate(text_words):
        yield text_word
        if word_position + 1 < len(text_words):
            yield f"{text_word} {text_words[word_position + 1]}"
        yield from word_parts(text_word)


def word_parts(word: str) -> Iterator[str]:
    """Parts of three and four characters, with ``#`` at the ends of the word.

    Args:
        word: A word in lower case.
    """
    marked_word = f"#{word}#"
    for part_length in _PART_LENGTHS:
        for part_start in range(len(marked_word) - part_length + 1):
            yield f"~{marked_word[part_start : part_start + part_length]}"
