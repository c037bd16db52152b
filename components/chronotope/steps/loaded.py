"""What tasks read from paths: kept by each process, so that many tasks read it once."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from chronotope.artifact.open_bundle import open_bundle
from chronotope.features.snapshot import load_features

features_at = lru_cache(maxsize=1)(load_features)
"""The log and catalogue of a snapshot, as ``load_features`` reads them."""

bundle_at = lru_cache(maxsize=1)(open_bundle)
"""A bundle, opened."""


@contextmanager
def read_once() -> Iterator[None]:
    """Keep what is read inside the block until its end: a log is large, and paths are reused."""
    _forget()
    try:
        yield
    finally:
        _forget()


def _forget() -> None:
    features_at.cache_clear()
    bundle_at.cache_clear()
