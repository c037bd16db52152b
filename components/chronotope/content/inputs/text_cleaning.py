"""Cleaning of texts before they are encoded: HTML, control characters, Unicode form, length."""

import html
import re
import unicodedata
from typing import Final

_RAW_FACTOR: Final = 8
"""A raw text is cut at this multiple of its bound: markup is longer than what it shows."""

_HIDDEN_ELEMENTS: Final = (("<!--", "-->"), ("<script", "</script"), ("<style", "</style"))
_TAG: Final = re.compile(r"</?[a-zA-Z!][^<>]*>")
_SPACE: Final = re.compile(r"\s+")


def clean_text(raw_text: str, max_chars: int) -> str:
    r"""Visible text in Unicode normal form C with single spaces.

    The time is linear in the length for any input. Markup is removed, character references such
    as ``&amp;`` are replaced, and control, format and unassigned characters become spaces or
    disappear.

    Args:
        raw_text: Text as stored; may hold HTML.
        max_chars: Number of characters after which the text is cut.

    Example:
        >>> clean_text("<p>M&uuml;sli\x00 <b>noir</b></p><script>x()</script>", 100)
        'Müsli noir'
    """
    visible_text = raw_text[: max_chars * _RAW_FACTOR]
    if "<" in visible_text:
        for opening, closing in _HIDDEN_ELEMENTS:
            visible_text = _without_element(visible_text, opening, closing)
        visible_text = _TAG.sub(" ", visible_text)
    if "&" in visible_text:
        visible_text = html.unescape(visible_text)
    visible_text = "".join(map(_printable, visible_text))
    return _SPACE.sub(" ", unicodedata.normalize("NFC", visible_text)).strip()[:max_chars].rstrip()


def _without_element(text: str, opening: str, closing: str) -> str:
    """Text without the elements between two marks; one that is not closed reaches to the end."""
    searched, parts, start = text.lower(), [], 0
    if len(searched) != len(text):  # a few letters become two: positions would not agree
        searched = text
    while (element_start := searched.find(opening, start)) >= 0:
        parts.append(text[start:element_start])
        element_end = searched.find(closing, element_start)
        if element_end < 0:
            return " ".join(parts)
        start = element_end + len(closing)
        if not closing.endswith(">"):
            tag_end = searched.find(">", start)
            start = len(text) if tag_end < 0 else tag_end + 1
    return " ".join([*parts, text[start:]])


def _printable(character: str) -> str:
    """The character itself, a space for a control character, nothing for an invisible one."""
    category = unicodedata.category(character)
    if category[0] != "C":
        return character
    if category == "Cf":  # joiners shape words of some scripts; other format characters do not
        return character if character in "\u200c\u200d" else ""
    return " " if category == "Cc" else ""
