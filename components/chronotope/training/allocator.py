"""Memory of a training: freed arrays are used again instead of being returned to the system.

A step allocates and frees some hundred arrays of a few megabytes. By default glibc returns
them to the operating system and asks for them again, and every page costs a page fault: a
fifth of the time of a step on 5,000 places.
"""

import ctypes
import sys
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""Parameters of ``mallopt(3)``."""

KEPT_BYTES: Final = 128 * 2**20
"""Freed memory that the process may hold."""

N_ARENAS: Final = 1
"""Heaps of the process: with one for each thread, each thread would hold as much."""

LARGEST_HEAP_ARRAY_BYTES: Final = 6 * 2**20
"""Larger arrays are still returned at once: heaps of 64 MB would be half empty between them."""


def reuse_freed_memory() -> bool:
    """Let this process hold freed memory; returns whether its C library allows that.

    Only glibc has the setting. It holds until the process ends.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {
        _M_MMAP_THRESHOLD: LARGEST_HEAP_ARRAY_BYTES,
        _M_TRIM_THRESHOLD: KEPT_BYTES,
        _M_TOP_PAD: KEPT_BYTES // 16,
        _M_ARENA_MAX: N_ARENAS,
    }
    accepted = [mallopt(parameter, value) == 1 for parameter, value in settings.items()]
    return all(accepted)
