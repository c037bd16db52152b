"""Rules for the texts of ids: the same for events, catalogue, inbox and service.

An id is exactly what its source states, or it is refused with a reason. Two forms of one integer
are one id: ``17850.0``, which tools write when a column of integers has missing values, is
``17850``. White space, letter case, Unicode forms and leading zeros are significant.
"""

import re
from typing import Final

from chronotope.contracts.event_bounds import MAX_ID_CHARS

NULL_WORDS: Final = ("NULL", "\\N", "nan", "NaN", "None", "N/A", "n/a", "NA", "<NA>", "#N/A")
"""Texts that stand for a missing id, besides the empty text."""

MAX_EXACT_FLOAT: Final = 2**53
"""Whole numbers below it are exact as 64-bit floating-point numbers."""

WHOLE_FLOAT: Final = r"^-?(?:0|[1-9][0-9]*)\.0$"
EXPONENT: Final = r"^-?[0-9](?:\.[0-9]+)?[eE]\+[0-9]{2,}$"
CONTROL: Final = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f]"
"""Regular expressions (RE2 and ``re``) of an integer as a float, of a number in exponent form as
tools write it, and of control characters other than tabs and line breaks."""

MISSING: Final = "is missing"
HAS_CONTROL: Final = "has a control character"
LOST_DIGITS: Final = "is a floating-point number that may have lost digits; export it as text"
NOT_UTF8: Final = "is not UTF-8 text"
TOO_LONG: Final = f"has more than {MAX_ID_CHARS:,} characters"
"""Reasons of a refusal, to follow the name of the column."""

_WHOLE_FLOAT, _EXPONENT, _CONTROL = (
    re.compile(pattern, re.ASCII) for pattern in (WHOLE_FLOAT, EXPONENT, CONTROL)
)


def canonical_id(id_text: str) -> str:
    """The id that a text states; a text that ``id_problem`` refuses is returned as it is.

    Example:
        >>> canonical_id("17850.0"), canonical_id("017850.0"), canonical_id(" a ")
        ('17850', '017850.0', ' a ')
    """
    if not _WHOLE_FLOAT.fullmatch(id_text) or abs(int(id_text[:-2])) >= MAX_EXACT_FLOAT:
        return id_text
    return "0" if id_text == "-0.0" else id_text.removesuffix(".0")


def id_problem(id_text: str) -> str | None:
    """Reason why a text is no id; None if it is one.

    Example:
        >>> id_problem("NULL"), id_problem("a" * 1025), id_problem("u1")
        ('is missing (NULL)', 'has more than 1,024 characters', None)
    """
    if not id_text:
        return MISSING
    if id_text in NULL_WORDS:
        return f"{MISSING} ({id_text})"
    if len(id_text) > MAX_ID_CHARS:
        return TOO_LONG
    if _CONTROL.search(id_text):
        return HAS_CONTROL
    if _EXPONENT.fullmatch(id_text) or (
        _WHOLE_FLOAT.fullmatch(id_text) and abs(int(id_text[:-2])) >= MAX_EXACT_FLOAT
    ):
        return LOST_DIGITS
    return None if is_utf8(id_text) else NOT_UTF8


def is_utf8(text: str) -> bool:
    """Whether a text can be encoded: it has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
