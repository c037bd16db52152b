"""What tasks read from paths: kept by each process, so that many tasks read it once."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from chronotope.artifact.open_bundle import open_bundle
from chronotope.features.snapshot import load_features

cached_features = lru_cache(maxsize=1)(load_features)
"""The log and catalogue of a snapshot, as ``load_features`` reads them."""

cached_bundle = lru_cache(maxsize=1)(open_bundle)
"""A bundle, opened."""


@contextmanager
def process_cache() -> Iterator[None]:
    """Keep what is read inside the block until its end: a log is large, and paths are reused."""
    _forget()
    try:
        yield
    finally:
        _forget()


def _forget() -> None:
    cached_features.cache_clear()
    cached_bundle.cache_clear()
