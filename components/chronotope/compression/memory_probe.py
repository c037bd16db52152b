"""What runs in a clean process: how much memory a bundle adds to what it is read with.

Usage: ``python -I -m chronotope.compression.memory_probe BUNDLE QUERY.npz``. Prints 10^6 bytes.
"""

import gc
import resource
import sys
from pathlib import Path

import numpy as np

from chronotope.artifact.open_bundle import open_bundle
from chronotope.contracts.queries import Queries

_STATUS = Path("/proc/self/status")


def main(bundle: Path, asked: Path) -> float:
    """Open a bundle, answer once, and return what that added, in 10^6 bytes.

    Args:
        bundle: Its folder.
        asked: One query, as numpy keeps named arrays.
    """
    with np.load(asked) as stored:
        query = Queries.of_arrays(dict(stored))
    before = resident_bytes()
    model = open_bundle(bundle)
    model.prepared(query)()
    gc.collect()
    return (resident_bytes() - before) / 1e6


def resident_bytes() -> int:
    """Memory of this process that is in RAM; the peak where the system does not tell more."""
    if _STATUS.exists():
        lines = _STATUS.read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1]), Path(sys.argv[2]))}\n")
