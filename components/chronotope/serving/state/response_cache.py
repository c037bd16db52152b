"""Answers that are kept: those of this process, and behind them those of all workers."""

import hashlib
from collections.abc import Callable
from typing import Any, Protocol

from pydantic import ValidationError

from chronotope.serving.api.responses import RecommendResponse
from chronotope.serving.state.lru_cache import LruCache

Key = tuple[Any, ...]
"""Everything an answer depends on: of equal keys the answers are equal."""


class SharedCache(Protocol):
    """What workers have in common; it may forget, and it may be away."""

    def get(self, name: str) -> bytes | None:
        """What was put under a name, by whomever; None if it is not there."""

    def put(self, name: str, value: bytes) -> None:
        """Keep a value for a while."""


class ResponseCache:
    """Looks here first, then into what is shared.

    Nothing is ever invalidated: a key holds the version, the data and the latest event of the
    user, so an answer that one of them has made wrong is not found again, by any worker. They
    are kept as bytes: the garbage collector would look objects through again and again.
    """

    def __init__(
        self,
        size: int,
        count: Callable[[bool], None],
        *,
        shared: SharedCache | None = None,
        count_shared: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """Start empty.

        Args:
            size: Answers kept in this process.
            count: Called with whether an answer was here.
            shared: What other workers keep; None shares nothing.
            count_shared: Called with whether an answer that was not here was there.
        """
        self._here: LruCache[Key, bytes] = LruCache(size, count)
        self._shared, self._count_shared = shared, count_shared

    def get(self, key: Key) -> RecommendResponse | None:
        """The answer, whoever made it."""
        value = self._here.get(key)
        if value is not None or self._shared is None:
            return _read(value)
        value = self._shared.get(_name(key))
        found = _read(value)
        self._count_shared(found is not None)
        if value is not None and found is not None:
            self._here.put(key, value)
        return found

    def put(self, key: Key, said: RecommendResponse) -> None:
        """Keep an answer, for the other workers as well."""
        value = said.model_dump_json().encode()
        self._here.put(key, value)
        if self._shared is not None:
            self._shared.put(_name(key), value)


def _name(key: Key) -> str:
    """The same in every process."""
    return hashlib.sha256(repr(key).encode()).hexdigest()


def _read(value: bytes | None) -> RecommendResponse | None:
    """None also for what another release wrote."""
    try:
        return None if value is None else RecommendResponse.model_validate_json(value)
    except ValidationError:
        return None
