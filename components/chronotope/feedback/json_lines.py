"""Parser of JSON Lines from external sources."""

from dataclasses import dataclass

from chronotope.contracts.strict_json import RefusedJson, parse_json


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

    Only a line feed ends a line, since texts may contain other separators, such as U+2028.
    """
    text_lines = file_content.decode("utf-8", errors="replace").split("\n")
    return [_parse_line(text_line.rstrip("\r")) for text_line in text_lines if text_line.strip()]


def _parse_line(text_line: str) -> object:
    try:
        return parse_json(text_line)
    except RefusedJson as error:
        return RefusedLine(text_line, str(error))
    except ValueError:
        return RefusedLine(text_line)
