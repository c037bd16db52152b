"""Parser of JSON Lines from external sources: payloads and refused lines."""

from dataclasses import dataclass

from chronotope.contracts.strict_json import RefusedJson, parse_json


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that holds no payload.

    Attributes:
        text: The line.
        reason: Why it must not be read; None if it is no JSON.
    """

    text: str
    reason: str | None = None


def parse_lines(file_content: bytes) -> list[object]:
    """Payload of each line; a ``RefusedLine`` for one that is no JSON or must not be read.

    Lines end at a line feed alone: texts may hold other separators, such as U+2028.
    """
    text_lines = file_content.decode("utf-8", errors="replace").split("\n")
    return [_parsed(text_line.rstrip("\r")) for text_line in text_lines if text_line.strip()]


def _parsed(text_line: str) -> object:
    try:
        return parse_json(text_line)
    except RefusedJson as error:
        return RefusedLine(text_line, str(error))
    except ValueError:
        return RefusedLine(text_line)
