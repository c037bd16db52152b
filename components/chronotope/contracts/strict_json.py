"""JSON from outside: a key stands once in its object, and nothing is nested without bound."""

import json
from typing import Any, Final

MAX_DEPTH: Final = 64
"""Objects and lists within each other: far below what Python's own recursion bears."""

_SHOWN_CHARACTERS: Final = 40


class RefusedJson(ValueError):  # noqa: N818 - the name of what was refused
    """It is JSON, but must not be read; the message says why, fit to be shown."""


def parse_json(text: str) -> Any:
    """What a text of JSON holds.

    Raises:
        RefusedJson: A key stands twice in an object, or it is nested too deeply.
        ValueError: It is no JSON.

    Example:
        >>> parse_json('{"a": 1, "a": 2}')
        Traceback (most recent call last):
            ...
        chronotope.contracts.strict_json.RefusedJson: key 'a' stands in it twice
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise RefusedJson(_TOO_DEEP) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise RefusedJson(_TOO_DEEP)
    return value


def shown_key(key: object) -> str:
    r"""A key to show: escaped and shortened, since whoever sent it chose it.

    Example:
        >>> shown_key("a\x1b[31m")
        "'a\\x1b[31m'"
    """
    text = ascii(key)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


_TOO_DEEP: Final = f"it is nested more than {MAX_DEPTH} levels deep"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RefusedJson(f"key {shown_key(twice)} stands in it twice")
    return content


def _depth(value: Any) -> int:
    """Levels of objects and lists, without recursion."""
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        node, depth = waiting.pop()
        if isinstance(node, dict | list):
            deepest = max(deepest, depth)
            children = node.values() if isinstance(node, dict) else node
            waiting += [(child, depth + 1) for child in children]
    return deepest
