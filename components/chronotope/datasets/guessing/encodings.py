"""Encoding of a text file: byte order marks and UTF-8 are certain, code pages are guessed."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_BOMS: Final = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_LEAD_BYTES: Final = {
    # Lead bytes of the frequent characters of each code page: symbols, kana, first level.
    "gbk": (range(0xA1, 0xA4), range(0xB0, 0xD8)),
    "cp932": (range(0x81, 0x84), range(0x88, 0x98)),
}
_TRAIL_START: Final = {"gbk": 0xA1, "cp932": 0x40}
_MIN_SHARE: Final = 0.7
_CUT_BYTES: Final = 8
"""A sample may end inside a character; so many bytes at its end may be left over."""

ZONES_BY_ENCODING: Final = {"gbk": "Asia/Shanghai", "cp932": "Asia/Tokyo"}
"""Time zone of the country in which a code page is used; these have one zone each."""


@dataclass(frozen=True, slots=True)
class EncodingGuess:
    """Encoding of a text.

    Attributes:
        name: Name for ``encoding`` in the YAML.
        doubts: What is not sure; empty for UTF-8 and after a byte order mark.
    """

    name: str
    doubts: tuple[str, ...] = ()


def guess_encoding(head: bytes) -> EncodingGuess:
    """Encoding of the text that begins with some bytes."""
    for mark, encoding_name in _BOMS:
        if head.startswith(mark):
            return EncodingGuess(encoding_name)
    for position, encoding_name in ((1, "utf-16-le"), (0, "utf-16-be")):
        every_second = head[position:4096:2]
        if every_second and every_second.count(0) > 0.6 * len(every_second):
            return EncodingGuess(encoding_name)
    if _is_utf8(head):
        return EncodingGuess("utf-8")
    shares = {name: _frequent_share(head, name) for name in _LEAD_BYTES}
    best_name = max(shares, key=lambda name: shares[name])
    if shares[best_name] >= _MIN_SHARE and _decodes(head, best_name):
        others = "cp932" if best_name == "gbk" else "gbk"
        return EncodingGuess(
            best_name,
            (
                f"encoding: the text is not UTF-8; {best_name} fits, but {others}, big5 or euc-kr "
                "may fit too",
            ),
        )
    single_byte = "cp1251" if _is_mostly_high(head) else "cp1252"
    if single_byte == "cp1252" and not _decodes(head, "cp1252"):
        single_byte = "latin-1"
    return EncodingGuess(
        single_byte,
        (
            f"encoding: the text is not UTF-8; {single_byte} is a guess, since any text of single "
            "bytes can be read in it: look at the accented letters",
        ),
    )


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - _CUT_BYTES and error.reason == "unexpected end of data"
    return True


def _decodes(head: bytes, encoding_name: str) -> bool:
    """Whether all but a few bytes at the end can be decoded."""
    try:
        head.decode(encoding_name)
    except UnicodeDecodeError as error:
        return error.start >= len(head) - _CUT_BYTES
    return True


def _frequent_share(head: bytes, encoding_name: str) -> float:
    """Share of the double-byte characters that are frequent ones of a code page."""
    n_frequent = n_characters = position = 0
    while position < len(head) - 1:
        lead, trail = head[position], head[position + 1]
        if lead < 0x80 or (encoding_name == "cp932" and 0xA1 <= lead <= 0xDF):
            position += 1
            continue
        n_characters += 1
        is_frequent = any(lead in leads for leads in _LEAD_BYTES[encoding_name])
        n_frequent += is_frequent and trail >= _TRAIL_START[encoding_name]
        position += 2
    return n_frequent / n_characters if n_characters else 0.0


def _is_mostly_high(head: bytes) -> bool:
    """Whether bytes above 127 mostly stand in words of such bytes, as in Cyrillic text."""
    is_high = [byte >= 0xC0 for byte in head[:65_536]]
    n_high = sum(is_high)
    n_pairs = sum(first and second for first, second in pairwise(is_high))
    return n_high > 0 and n_pairs > 0.6 * n_high
