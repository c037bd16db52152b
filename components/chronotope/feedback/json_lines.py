"""Parser of JSON Lines from external sources."""

from dataclasses import dataclass
from typing import Final

from chronotope.contracts.id_rules import is_utf8
from chronotope.contracts.strict_json import RefusedJson, parse_json
from chronotope.contracts.text_arrays import shown_bytes

_BYTE_ORDER_MARK: Final = "\ufeff"


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """Line that could not be parsed.

    Attributes:
        text: Text of the line.
        reason: Why valid JSON was refused, such as a repeated key; None if the line is not JSON.
    """

    text: str
    reason: str | None = None


def parse_lines(file_content: bytes) -> list[object]:
    """Parse each line that is not blank; lines without valid JSON become ``RefusedLine``.

    Only a line feed ends a line, since texts may contain other separators, such as U+2028. A byte
    order mark, with which some tools begin a file, is no part of a line. A line with bytes that
    are not UTF-8 is refused: replaced characters would change its ids.
    """
    text_lines = shown_bytes(file_content).split("\n")
    return [_parse_line(text_line.rstrip("\r")) for text_line in text_lines if text_line.strip()]


def _parse_line(text_line: str) -> object:
    if not is_utf8(text_line):
        return RefusedLine(text_line, "it is not UTF-8 text")
    try:
        return parse_json(text_line.removeprefix(_BYTE_ORDER_MARK))
    except RefusedJson as error:
        return RefusedLine(text_line, str(error))
    except ValueError:
        return RefusedLine(text_line)
