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
        for opening_mark, closing_mark in _HIDDEN_ELEMENTS:
            visible_text = _without_element(visible_text, opening_mark, closing_mark)
        visible_text = _TAG.sub(" ", visible_text)
    if "&" in visible_text:
        visible_text = html.unescape(visible_text)
    visible_text = "".join(map(_printable, visible_text))
    return _SPACE.sub(" ", unicodedata.normalize("NFC", visible_text)).strip()[:max_chars].rstrip()


def _without_element(text: str, opening: str, closing: str) -> str:
    """Text without the elements between two marks; one that is not closed reaches to the end."""
    searched_text, text_parts, part_start = text.lower(), [], 0
    if len(searched_text) != len(text):  # a few letters become two: positions would not agree
        searched_text = text
    while (element_start := searched_text.find(opening, part_start)) >= 0:
        text_parts.append(text[part_start:element_start])
        element_end = searched_text.find(closing, element_start)
        if element_end < 0:
            return " ".join(text_parts)
        part_start = element_end + len(closing)
        if not closing.endswith(">"):
            tag_end = searched_text.find(">", part_start)
            part_start = len(text) if tag_end < 0 else tag_end + 1
    return " ".join([*text_parts, text[part_start:]])


def _printable(character: str) -> str:
    """The character itself, a space for a control character, nothing for an invisible one."""
    unicode_category = unicodedata.category(character)
    if unicode_category[0] != "C":
        return character
    if (
        unicode_category == "Cf"
    ):  # joiners shape words of some scripts; other format characters do not
        return character if character in "\u200c\u200d" else ""
    return " " if unicode_category == "Cc" else ""
