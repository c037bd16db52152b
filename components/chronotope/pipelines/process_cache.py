"""Per-process cache of a snapshot and a bundle, so that many tasks read each file once."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from chronotope.artifact.open_bundle import open_bundle
from chronotope.features.snapshot import load_features

cached_features = lru_cache(maxsize=1)(load_features)
"""Log and catalogue of a snapshot, as ``load_features`` reads them."""

cached_bundle = lru_cache(maxsize=1)(open_bundle)
"""An opened bundle."""


@contextmanager
def process_cache() -> Iterator[None]:
    """Clear the cache before and after a block: a log is large, and paths are reused."""
    _clear_caches()
    try:
        yield
    finally:
        _clear_caches()


def _clear_caches() -> None:
    cached_features.cache_clear()
    cached_bundle.cache_clear()
