"""Duplicate keys in JSON objects, of which parsers silently take the last."""

import json
from collections import Counter


class _RepeatedKeyError(Exception):
    """Stops the parser; carries the key."""


def repeated_key(body: bytes) -> str | None:
    """First key that occurs twice in one object.

    >>> repeated_key(b'{"user_id": "a", "context": {"rain": 1, "rain": 2}}')
    'rain'
    >>> repeated_key(b'[{"k": 1}, {"k": 2}]')

    Args:
        body: JSON; the result is None for invalid JSON.
    """
    try:
        json.loads(body, object_pairs_hook=_refuse_repeated_key)
    except _RepeatedKeyError as repeated:
        return str(repeated)
    except (ValueError, RecursionError):
        return None
    return None


def _refuse_repeated_key(pairs: list[tuple[str, object]]) -> None:
    """Object hook that builds nothing: only the keys matter here."""
    if len(dict(pairs)) < len(pairs):
        key_counts = Counter(key for key, _ in pairs)
        raise _RepeatedKeyError(next(key for key, count in key_counts.items() if count > 1))
