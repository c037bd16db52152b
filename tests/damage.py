"""One changed byte at a time, at places spread evenly over a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def flipped(path: Path, place: int) -> Iterator[None]:
    """Change a bit of one byte; the file is whole again behind the block."""
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[place] ^= 0x10
    path.write_bytes(damaged)
    try:
        yield
    finally:
        path.write_bytes(whole)


def flips(path: Path, n: int) -> Iterator[int]:
    """The file with each of n bytes changed in turn; yields where."""
    size = path.stat().st_size
    for number in range(min(n, size)):
        place = number * size // min(n, size)
        with flipped(path, place):
            yield place
