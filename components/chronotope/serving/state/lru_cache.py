"""Thread-safe LRU cache that counts hits and misses."""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


def _count_nothing(_is_hit: bool) -> None:
    pass


class LruCache(Generic[KeyT, ValueT]):
    """``cachetools.LRUCache`` with a lock and a hit counter."""

    def __init__(
        self, max_entries: int, count_lookup: Callable[[bool], None] = _count_nothing
    ) -> None:
        """Create an empty cache.

        Args:
            max_entries: Maximum number of entries; the least recently used one is evicted.
            count_lookup: Called with whether a lookup was a hit.
        """
        self._entries: LRUCache[KeyT, ValueT] = LRUCache(max_entries)
        self._count_lookup, self._lock = count_lookup, Lock()

    def __len__(self) -> int:
        """Number of entries."""
        return len(self._entries)

    def get(self, key: KeyT) -> ValueT | None:
        """Value of a key, now the most recently used; None if there is none."""
        with self._lock:
            value = self._entries.get(key)
        self._count_lookup(value is not None)
        return value

    def put(self, key: KeyT, value: ValueT) -> None:
        """Store a value."""
        with self._lock:
            self._entries[key] = value

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._entries.clear()
