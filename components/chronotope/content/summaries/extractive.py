"""Extractive summary: the sentences nearest to the text's centroid, without repetition.

Centroid summarisation (Radev et al. 2004) with maximal marginal relevance (Carbonell and
Goldstein 1998): ``score = cos(sentence, centroid) + lead - redundancy``.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from chronotope.content.encoder import Vectors, unit_vectors
from chronotope.content.encoders.tfidf_encoder import split_words
from chronotope.content.summaries.sentences import split_sentences

SentenceEncoder = Callable[[Sequence[str]], Vectors]
"""Vectors of unit length of sentences, shape (n, dim)."""

_LEAD: Final = 0.15
"""Bonus of the first sentence; later ones have less. Texts tend to begin with what matters."""
_REDUNDANCY: Final = 0.5
_ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"


def summarise(text: str, max_chars: int, encode_sentences: SentenceEncoder | None = None) -> str:
    """Most central sentences of a text, in their order, within a length.

    Every sentence of the summary occurs in the text. If not even the most central one fits, it is
    cut at a word.

    Args:
        text: Cleaned text.
        max_chars: Length of the summary.
        encode_sentences: Vectors of the sentences; by default TF-IDF within the text.
    """
    if len(text) <= max_chars:
        return " ".join(text.split())
    text_sentences = list(dict.fromkeys(split_sentences(text)))  # repeated ones once
    if len(text_sentences) < 2:
        return cut_at_word(text, max_chars)
    sentence_vectors = (encode_sentences or tfidf_sentences)(text_sentences)
    relevance_order = _by_relevance(sentence_vectors)
    chosen_positions: list[int] = []
    n_chars = 0
    for sentence_position in relevance_order:
        n_more = len(text_sentences[sentence_position]) + (1 if chosen_positions else 0)
        if n_chars + n_more <= max_chars:
            chosen_positions.append(sentence_position)
            n_chars += n_more
    if not chosen_positions:
        return cut_at_word(text_sentences[relevance_order[0]], max_chars)
    return " ".join(
        text_sentences[sentence_position] for sentence_position in sorted(chosen_positions)
    )


def tfidf_sentences(sentences: Sequence[str]) -> Vectors:
    """TF-IDF vectors of sentences among each other, shape (n, n_words).

    Args:
        sentences: Sentences of one text.
    """
    word_counts = [Counter(split_words(sentence)) for sentence in sentences]
    document_counts = Counter(
        sentence_word for sentence_counts in word_counts for sentence_word in sentence_counts
    )
    position_by_word = {
        sentence_word: sentence_position
        for sentence_position, sentence_word in enumerate(document_counts)
    }
    sentence_vectors = np.zeros((len(sentences), max(1, len(position_by_word))), dtype=np.float32)
    for sentence_row, sentence_counts in enumerate(word_counts):
        for sentence_word, n_words in sentence_counts.items():
            inverse_frequency = (
                np.log((1 + len(sentences)) / (1 + document_counts[sentence_word])) + 1
            )
            sentence_vectors[sentence_row, position_by_word[sentence_word]] = (
                n_words * inverse_frequency
            )
    return unit_vectors(sentence_vectors)


def cut_at_word(text: str, max_chars: int) -> str:
    """Beginning of a text, cut after a word, with an ellipsis.

    Args:
        text: The text.
        max_chars: Length with the ellipsis.

    Example:
        >>> cut_at_word("one two three", 9)
        'one two…'
    """
    if len(text) <= max_chars:
        return text
    text_beginning = text[: max_chars - 1]
    if not text[max_chars - 1].isspace() and " " in text_beginning:
        text_beginning = text_beginning[: text_beginning.rindex(" ")]
    return text_beginning.rstrip(" ,;:-") + _ELLIPSIS


def _by_relevance(vectors: Vectors) -> list[int]:
    """Positions of the sentences, most relevant first; repetition of earlier ones costs."""
    n_sentences = len(vectors)
    text_centroid = unit_vectors(vectors.mean(axis=0, keepdims=True))[0]
    centroid_relevance = vectors @ text_centroid + _LEAD / (1 + np.arange(n_sentences))
    sentence_similarity = vectors @ vectors.T
    sentence_redundancy = np.zeros(n_sentences, dtype=np.float32)
    is_left = np.ones(n_sentences, dtype=np.bool_)
    relevance_order: list[int] = []
    for _ in range(n_sentences):
        marginal_scores = np.where(
            is_left, centroid_relevance - _REDUNDANCY * sentence_redundancy, -np.inf
        )
        sentence_position = int(marginal_scores.argmax())
        relevance_order.append(sentence_position)
        is_left[sentence_position] = False
        sentence_redundancy = np.maximum(
            sentence_redundancy, sentence_similarity[sentence_position]
        )
    return relevance_order
