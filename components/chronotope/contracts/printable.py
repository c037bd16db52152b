"""Text from data, made fit for a terminal: nothing in it can steer the terminal.

Titles, ids and file names come from logs and may hold escape sequences, which a terminal would
obey: they recolour, overwrite lines, set the window's title or write to the clipboard.
"""

import re
from typing import Final

_STEERING: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters of ASCII and Latin-1, escape among them
    r"\u2028\u2029"  # separators of lines and paragraphs
    r"\u202a-\u202e\u2066-\u2069"  # reversals of the direction of writing
    r"\ud800-\udfff]"  # bytes of file names that are no UTF-8
)


def printable(text: str) -> str:
    r"""A text whose control characters are shown as escapes; tabs and new lines stay.

    >>> printable("\x1b[31mtea\x07")
    '\\x1b[31mtea\\x07'

    Args:
        text: Any text, such as the title of an item.
    """
    return _STEERING.sub(lambda match: _escape(ord(match[0])), text)


def printable_line(text: str) -> str:
    r"""The same on one line: runs of white space are one blank.

    >>> printable_line("tea\nChampion: none")
    'tea Champion: none'

    Args:
        text: Any text, such as the message of an exception.
    """
    return printable(" ".join(text.split()))


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
