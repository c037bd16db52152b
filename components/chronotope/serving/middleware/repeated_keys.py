"""Names that stand twice in a JSON object, of which readers silently take the last."""

import json
from collections import Counter


class _RepeatedKey(Exception):  # noqa: N818 - it carries the key
    """Raised inside the parser to stop it."""


def repeated_key(body: bytes) -> str | None:
    """The first name that stands twice in an object.

    >>> repeated_key(b'{"user_id": "a", "context": {"rain": 1, "rain": 2}}')
    'rain'
    >>> repeated_key(b'[{"k": 1}, {"k": 2}]')

    Args:
        body: JSON; None is the answer for what is none.
    """
    try:
        json.loads(body, object_pairs_hook=_refuse_repeated)
    except _RepeatedKey as repeated:
        return str(repeated)
    except (ValueError, RecursionError):
        return None
    return None


def _refuse_repeated(pairs: list[tuple[str, object]]) -> None:
    """In place of an object: only whether it is unambiguous matters here."""
    if len(dict(pairs)) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise _RepeatedKey(next(name for name, n_times in counts.items() if n_times > 1))
