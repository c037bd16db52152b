"""Imports of large packages without the collections of garbage that slow them down."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import packages without cyclic garbage collection, which takes a fifth of their import.

    Thousands of classes and functions are made and none is freed, but each collection visits
    all of them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
