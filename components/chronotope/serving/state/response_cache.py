"""Response cache: one level in this process and a second one shared by all workers."""

import hashlib
from collections.abc import Callable
from typing import Any, Protocol

from pydantic import ValidationError

from chronotope.serving.api.responses import RecommendResponse
from chronotope.serving.state.lru_cache import LruCache

CacheKey = tuple[Any, ...]
"""Everything that a response depends on."""


class SharedCache(Protocol):
    """Cache shared by all workers; entries may be evicted, and it may be unavailable."""

    def get(self, cache_key: str) -> bytes | None:
        """Value of a key; None if there is none."""

    def put(self, cache_key: str, value: bytes) -> None:
        """Store a value for a limited time."""

    def clear(self) -> None:
        """Remove all entries of this service."""


class ResponseCache:
    """Two-level cache without invalidation.

    A key holds the model version, the data version and the log position of the user's latest
    event, so a stale response has another key, in every worker. Values are stored as bytes:
    the garbage collector would traverse objects again and again.
    """

    def __init__(
        self,
        max_entries: int,
        count_lookup: Callable[[bool], None],
        *,
        shared_cache: SharedCache | None = None,
        count_shared: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """Create an empty cache.

        Args:
            max_entries: Maximum number of responses in this process.
            count_lookup: Called with whether a lookup in this process was a hit.
            shared_cache: Cache of all workers; None shares nothing.
            count_shared: Called with whether a lookup in the shared cache was a hit.
        """
        self._local_cache: LruCache[CacheKey, bytes] = LruCache(max_entries, count_lookup)
        self._shared_cache, self._count_shared = shared_cache, count_shared

    def get(self, cache_key: CacheKey) -> RecommendResponse | None:
        """Response of a key, from this process or another; None if there is none."""
        serialized = self._local_cache.get(cache_key)
        if serialized is not None or self._shared_cache is None:
            return _deserialize(serialized)
        serialized = self._shared_cache.get(_shared_key(cache_key))
        response = _deserialize(serialized)
        self._count_shared(response is not None)
        if serialized is not None and response is not None:
            self._local_cache.put(cache_key, serialized)
        return response

    def put(self, cache_key: CacheKey, response: RecommendResponse) -> None:
        """Store a response in both levels."""
        serialized = response.model_dump_json().encode()
        self._local_cache.put(cache_key, serialized)
        if self._shared_cache is not None:
            self._shared_cache.put(_shared_key(cache_key), serialized)

    def clear(self) -> None:
        """Remove all entries of both levels."""
        self._local_cache.clear()
        if self._shared_cache is not None:
            self._shared_cache.clear()


def _shared_key(cache_key: CacheKey) -> str:
    """Digest of a key, the same in every process."""
    return hashlib.sha256(repr(cache_key).encode()).hexdigest()


def _deserialize(serialized: bytes | None) -> RecommendResponse | None:
    """Stored response; None also for the format of another release."""
    try:
        return None if serialized is None else RecommendResponse.model_validate_json(serialized)
    except ValidationError:
        return None
