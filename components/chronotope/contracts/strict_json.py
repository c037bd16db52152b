"""Parser of untrusted JSON that refuses duplicate keys and deep nesting."""

import json
from typing import Any, Final

JsonObject = dict[str, Any]
"""A parsed JSON object: JSON values by key."""

MAX_DEPTH: Final = 64
"""Largest nesting depth of objects and lists, far below Python's recursion limit."""

_SHOWN_CHARACTERS: Final = 40


class RefusedJson(ValueError):  # noqa: N818 - named after the input that was refused
    """Syntactically valid JSON that is refused; the message gives the reason, already escaped."""


def parse_json(json_text: str) -> Any:
    """Parse a JSON text.

    Raises:
        RefusedJson: An object contains a key twice, or the nesting exceeds ``MAX_DEPTH``.
        ValueError: The text is not JSON.

    Example:
        >>> parse_json('{"a": 1, "a": 2}')
        Traceback (most recent call last):
            ...
        chronotope.contracts.strict_json.RefusedJson: key 'a' occurs twice in one object
    """
    try:
        json_value = json.loads(json_text, object_pairs_hook=_unique)
    except RecursionError:
        raise RefusedJson(_TOO_DEEP) from None
    if json_text.count("[") + json_text.count("{") > MAX_DEPTH and _depth(json_value) > MAX_DEPTH:
        raise RefusedJson(_TOO_DEEP)
    return json_value


def shown_key(json_key: object) -> str:
    r"""A key for a message, escaped and shortened to 40 characters because it is untrusted.

    Example:
        >>> shown_key("a\x1b[31m")
        "'a\\x1b[31m'"
    """
    json_text = ascii(json_key)
    return (
        json_text
        if len(json_text) <= _SHOWN_CHARACTERS
        else f"{json_text[: _SHOWN_CHARACTERS - 3]}..."
    )


_TOO_DEEP: Final = f"it is nested more than {MAX_DEPTH} levels deep"


def _unique(key_value_pairs: list[tuple[str, Any]]) -> JsonObject:
    parsed_object = dict(key_value_pairs)
    if len(parsed_object) != len(key_value_pairs):
        key_names = [key_name for key_name, _ in key_value_pairs]
        repeated_key = next(key_name for key_name in key_names if key_names.count(key_name) > 1)
        raise RefusedJson(f"key {shown_key(repeated_key)} occurs twice in one object")
    return parsed_object


def _depth(json_value: Any) -> int:
    """Nesting depth of objects and lists, computed without recursion."""
    max_depth, pending_nodes = 0, [(json_value, 1)]
    while pending_nodes:
        json_node, node_depth = pending_nodes.pop()
        if isinstance(json_node, dict | list):
            max_depth = max(max_depth, node_depth)
            child_nodes = json_node.values() if isinstance(json_node, dict) else json_node
            pending_nodes += [(child_node, node_depth + 1) for child_node in child_nodes]
    return max_depth
