"""Memory probe, run in a clean process: resident memory that a bundle adds to its libraries.

Usage: ``python -I -m chronotope.compression.memory_probe BUNDLE QUERY.npz``. Prints 10^6 bytes.
"""

import gc
import resource
import sys
from pathlib import Path

import numpy as np

from chronotope.artifact.open_bundle import open_bundle
from chronotope.contracts.queries import Queries

_PROC_STATUS = Path("/proc/self/status")


def main(bundle_dir: Path, query_path: Path) -> float:
    """Memory added by opening a bundle and answering once, in 10^6 bytes.

    Args:
        bundle_dir: The bundle's folder.
        query_path: One query, as an npz file of named arrays.
    """
    with np.load(query_path) as npz_file:
        query = Queries.of_arrays(dict(npz_file))
    bytes_before = resident_bytes()
    model = open_bundle(bundle_dir)
    model.prepared(query)()
    gc.collect()
    return (resident_bytes() - bytes_before) / 1e6


def resident_bytes() -> int:
    """Resident memory of this process; its peak where the system reports nothing else."""
    if _PROC_STATUS.exists():
        status_lines = _PROC_STATUS.read_text(encoding="ascii").splitlines()
        rss_line = next(line for line in status_lines if line.startswith("VmRSS"))
        return 1024 * int(rss_line.split()[1])
    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_rss if sys.platform == "darwin" else 1024 * peak_rss


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1]), Path(sys.argv[2]))}\n")
