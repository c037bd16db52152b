"""Check of a generated text against its source: names, numbers and attribute values."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

_NUMBER: Final = re.compile(r"\d+(?:[.,:\u2019' ]?\d+)*")
_WORD: Final = re.compile(r"[^\W\d_][\w'\u2019-]*")
_SENTENCE_START: Final = re.compile(r"(?:^|[.!?\u2026:]\s+|[\"\u201c\u00ab(]\s*)$")
_SEPARATORS: Final = re.compile(r"[\s\-\u2010-\u2015_/,.;:!?\"'\u2019()\[\]]+")
_GROUPING: Final = re.compile(r"(?<=\d)[,\u2019' ](?=\d{3}\b)")


def unsupported_statements(summary: str, source: str) -> tuple[str, ...]:
    """Numbers and names of a summary that its source does not hold, in their order.

    A name is a word with a capital letter inside a sentence, or all in capitals; the first word
    of a sentence counts as a name only if it begins a group of names.

    Args:
        summary: Generated text.
        source: Text that it summarises.

    Example:
        >>> unsupported_statements("Opened in 1987 by Anna Berg.", "Anna Berg opened it in 1978.")
        ('1987',)
    """
    source_words, source_numbers = set(_words(source)), set(_numbers(source))
    unsupported_words = [number for number in _numbers(summary) if number not in source_numbers]
    for text_match in _WORD.finditer(summary):
        summary_word = text_match.group()
        if _is_name(summary_word, summary, text_match.start()) and not _is_supported(
            summary_word, source_words
        ):
            unsupported_words.append(summary_word)
    return tuple(dict.fromkeys(unsupported_words))


def grounded_attributes(
    attributes: Mapping[str, str], source: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Attributes whose value occurs in the source, and the reasons of the others.

    Args:
        attributes: Value by name.
        source: Text that they come from.

    Example:
        >>> grounded_attributes({"colour": "Dark-red", "size": "XL"}, "A dark red shirt.")
        ({'colour': 'Dark-red'}, {'size': "'XL' is not in the text"})
    """
    normalised_source = f" {normalised(source)} "
    grounded_values, drop_reasons = dict[str, str](), dict[str, str]()
    for attribute_name, attribute_value in attributes.items():
        wanted_value = normalised(attribute_value)
        if wanted_value and f" {wanted_value} " in normalised_source:
            grounded_values[attribute_name] = attribute_value
        else:
            drop_reasons[attribute_name] = f"{attribute_value!r} is not in the text"
    return grounded_values, drop_reasons


def normalised(text: str) -> str:
    """Words in lower case and compatibility form, with single spaces and no punctuation.

    Args:
        text: Any text.
    """
    folded_text = unicodedata.normalize("NFKC", text).casefold()
    return _SEPARATORS.sub(" ", _GROUPING.sub("", folded_text)).strip()


def _numbers(text: str) -> list[str]:
    """Numbers without separators of thousands."""
    folded_text = unicodedata.normalize("NFKC", text)
    return [_GROUPING.sub("", text_match.group()) for text_match in _NUMBER.finditer(folded_text)]


def _words(text: str) -> list[str]:
    return normalised(text).split()


def _is_name(word: str, summary: str, start: int) -> bool:
    if not word[0].isupper():
        return False
    is_start = _SENTENCE_START.search(summary[:start]) is not None
    return not is_start or (len(word) > 1 and word.isupper())


def _is_supported(word: str, source_words: set[str]) -> bool:
    """Whether all parts of a name occur in the source, possessive endings aside."""
    return all(
        word_part in source_words
        or word_part.removesuffix("s") in source_words
        or f"{word_part}s" in source_words
        for word_part in _words(word)
        if word_part != "s"
    )
