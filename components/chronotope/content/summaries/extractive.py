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
    sentences = list(dict.fromkeys(split_sentences(text)))  # repeated ones once
    if len(sentences) < 2:
        return cut_at_word(text, max_chars)
    vectors = (encode_sentences or tfidf_sentences)(sentences)
    order = _by_relevance(vectors)
    chosen: list[int] = []
    n_chars = 0
    for position in order:
        n_more = len(sentences[position]) + (1 if chosen else 0)
        if n_chars + n_more <= max_chars:
            chosen.append(position)
            n_chars += n_more
    if not chosen:
        return cut_at_word(sentences[order[0]], max_chars)
    return " ".join(sentences[position] for position in sorted(chosen))


def tfidf_sentences(sentences: Sequence[str]) -> Vectors:
    """TF-IDF vectors of sentences among each other, shape (n, n_words).

    Args:
        sentences: Sentences of one text.
    """
    word_counts = [Counter(split_words(sentence)) for sentence in sentences]
    document_counts = Counter(word for counts in word_counts for word in counts)
    position_by_word = {word: position for position, word in enumerate(document_counts)}
    vectors = np.zeros((len(sentences), max(1, len(position_by_word))), dtype=np.float32)
    for row, counts in enumerate(word_counts):
        for word, n_words in counts.items():
            inverse_frequency = np.log((1 + len(sentences)) / (1 + document_counts[word])) + 1
            vectors[row, position_by_word[word]] = n_words * inverse_frequency
    return unit_vectors(vectors)


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
    beginning = text[: max_chars - 1]
    if not text[max_chars - 1].isspace() and " " in beginning:
        beginning = beginning[: beginning.rindex(" ")]
    return beginning.rstrip(" ,;:-") + _ELLIPSIS


def _by_relevance(vectors: Vectors) -> list[int]:
    """Positions of the sentences, most relevant first; repetition of earlier ones costs."""
    n_sentences = len(vectors)
    centroid = unit_vectors(vectors.mean(axis=0, keepdims=True))[0]
    relevance = vectors @ centroid + _LEAD / (1 + np.arange(n_sentences))
    similarity = vectors @ vectors.T
    redundancy = np.zeros(n_sentences, dtype=np.float32)
    is_left = np.ones(n_sentences, dtype=np.bool_)
    order: list[int] = []
    for _ in range(n_sentences):
        scores = np.where(is_left, relevance - _REDUNDANCY * redundancy, -np.inf)
        position = int(scores.argmax())
        order.append(position)
        is_left[position] = False
        redundancy = np.maximum(redundancy, similarity[position])
    return order
