"""A small cache of the least-recently-used kind that counts its hits."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """Keeps the latest ``size`` values; threads may share it."""

    def __init__(self, size: int, count: Callable[[bool], None] = lambda _: None) -> None:
        """Make an empty cache.

        Args:
            size: Values it keeps.
            count: Called with whether a value was there.
        """
        self._size, self._count, self._lock = size, count, Lock()
        self._kept: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        """Number of values kept."""
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """The value, now the latest; None if it is not there."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
        self._count(found is not None)
        return found

    def put(self, key: K, value: V) -> None:
        """Keep a value; the oldest goes if there are too many."""
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
