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
    unsupported = [number for number in _numbers(summary) if number not in source_numbers]
    for match in _WORD.finditer(summary):
        word = match.group()
        if _is_name(word, summary, match.start()) and not _is_supported(word, source_words):
            unsupported.append(word)
    return tuple(dict.fromkeys(unsupported))


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
    grounded, reasons = dict[str, str](), dict[str, str]()
    for name, value in attributes.items():
        wanted = normalised(value)
        if wanted and f" {wanted} " in normalised_source:
            grounded[name] = value
        else:
            reasons[name] = f"{value!r} is not in the text"
    return grounded, reasons


def normalised(text: str) -> str:
    """Words in lower case and compatibility form, with single spaces and no punctuation.

    Args:
        text: Any text.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _SEPARATORS.sub(" ", _GROUPING.sub("", folded)).strip()


def _numbers(text: str) -> list[str]:
    """Numbers without separators of thousands."""
    folded = unicodedata.normalize("NFKC", text)
    return [_GROUPING.sub("", match.group()) for match in _NUMBER.finditer(folded)]


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
        part in source_words or part.removesuffix("s") in source_words or f"{part}s" in source_words
        for part in _words(word)
        if part != "s"
    )
