"""Lines from outside: payloads, or what they are and why they are refused."""

import json

import pytest

from chronotope.contracts.strict_json import MAX_DEPTH, RefusedJson, parse_json
from chronotope.feedback.json_lines import RefusedLine, parse_lines

DEEP = '{"a": ' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1)


def test_lines_that_are_no_json_stay_what_they_are() -> None:
    lines = b'{"a": 1}\n\n{half\n\xff\n' + b"9" * 5_000 + b"\n"
    first, half, other, long = parse_lines(lines)
    assert (first, half, other) == (
        {"a": 1},
        RefusedLine("{half"),
        RefusedLine("\udcff", "it is not UTF-8 text"),
    )
    assert long == RefusedLine("9" * 5_000)  # more digits than Python reads


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"user_id": "a", "user_id": "b"}', "key 'user_id' occurs twice in one object"),
        ('{"context": {"x": 1, "x": 2}}', "key 'x' occurs twice in one object"),
        ('{"\\u001b[31m": 1, "\\u001b[31m": 2}', r"key '\x1b[31m' occurs twice in one object"),
        (DEEP, f"it is nested more than {MAX_DEPTH} levels deep"),
        ("[" * 20_000, f"it is nested more than {MAX_DEPTH} levels deep"),
    ],
)
def test_what_must_not_be_read_says_why(line: str, reason: str) -> None:
    assert parse_lines(line.encode()) == [RefusedLine(line, reason)]
    with pytest.raises(RefusedJson, match=r"twice|deep"):
        parse_json(line)


def test_a_key_that_is_long_is_shown_shortened() -> None:
    name = "k" * 10_000
    (refused,) = parse_lines(f'{{"{name}": 1, "{name}": 2}}'.encode())
    assert isinstance(refused, RefusedLine)
    assert len(refused.reason or "") < 80


def test_as_deep_as_may_be_is_read() -> None:
    text = DEEP.replace('{"a": ', "", 1).removesuffix("}")
    assert parse_json(text) == json.loads(text)


def test_lines_end_at_a_line_feed_alone() -> None:
    names = ["a\u2028b", "a\u2029b", "a\x85b"]
    lines = [json.dumps({"item_id": name}, ensure_ascii=False) for name in names]
    assert parse_lines("\r\n".join(lines).encode()) == [{"item_id": name} for name in names]
