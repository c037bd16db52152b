"""Warnings of the training libraries that tell a notebook's user nothing."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_training() -> Iterator[None]:
    """Leave out deprecations inside the libraries, and advice on worker processes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
        warnings.filterwarnings("ignore", message=r".*does not have many workers.*")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield
