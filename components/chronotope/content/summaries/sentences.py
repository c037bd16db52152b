"""Splitting of texts into sentences, for any language."""

import re
from typing import Final

_CLOSING: Final = r"""["'\u00bb\u201d\u2019\u300d\u300f)\]]*"""
_END: Final = re.compile(
    # Latin, Cyrillic and Greek: a space follows
    rf"(?<=[.!?\u2026]){_CLOSING}\s+"
    # Chinese, Japanese, Hindi, Urdu and Arabic
    rf"|(?<=[\u3002\uff01\uff1f\uff61\u0964\u0965\u06d4\u061f]){_CLOSING}\s*"
    r"|\n+"
)
_ABBREVIATION: Final = re.compile(
    r"(?:^|[\s(\"'])(?:[^\W\d_]|Mr|Mrs|Ms|Dr|Prof|St|Mt|Jr|Sr|No|Nr|vs|etc|e\.g|i\.e|approx|bzw"
    r"|usw|ca|z\.B|[^\W\d_](?:\.[^\W\d_])+)\.$"
)
_LOWER_START: Final = re.compile(r"[^\w]*[a-z\u00df-\u00ff\u0430-\u044f]")
MAX_SENTENCES: Final = 400
"""Sentences of a text that are read; bounds the time."""


def split_sentences(text: str) -> list[str]:
    """Sentences of a text, in their order, without surrounding spaces.

    A full stop after an initial or a short abbreviation, or before a word in lower case, does not
    end a sentence.

    Args:
        text: Cleaned text.

    Example:
        >>> split_sentences("Dr. Who met J. Doe. It rained! 雨です。終わり。")
        ['Dr. Who met J. Doe.', 'It rained!', '雨です。', '終わり。']
    """
    text_sentences: list[str] = []
    pending_text, part_start = "", 0
    for end_match in [*_END.finditer(text), None]:
        text_part = text[part_start : end_match.end() if end_match else len(text)]
        part_start = end_match.end() if end_match else len(text)
        pending_text += text_part
        if (
            end_match is None
            or "\n" in end_match.group()
            or not _continues(pending_text, text[part_start : part_start + 8])
        ):
            if pending_text.strip():
                text_sentences.append(pending_text.strip())
            pending_text = ""
        if len(text_sentences) >= MAX_SENTENCES:
            break
    return text_sentences


def _continues(sentence: str, following: str) -> bool:
    """Whether the full stop at the end of a part does not end the sentence."""
    stripped_sentence = sentence.rstrip()
    if not stripped_sentence.endswith("."):
        return False
    return bool(_ABBREVIATION.search(stripped_sentence[-8:]) or _LOWER_START.match(following))
