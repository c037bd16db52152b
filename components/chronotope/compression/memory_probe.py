"""What runs in a clean process: how much memory a graph adds to ONNX Runtime alone.

Usage: ``python -I memory_probe.py MODEL.onnx FEED.npz``, run as a file, so that nothing of
this package is imported. Prints 10^6 bytes.
"""

import gc
import resource
import sys
from pathlib import Path

import numpy as np
import onnxruntime

_STATUS = Path("/proc/self/status")


def main(graph: str, asked: str) -> float:
    """Load a graph, answer once, and return what that added, in 10^6 bytes.

    Args:
        graph: Its file.
        asked: Its inputs, as numpy keeps named arrays.
    """
    with np.load(asked) as stored:
        feed = dict(stored)
    before = resident_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    session.run(None, feed)
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
    sys.stdout.write(f"{main(sys.argv[1], sys.argv[2])}\n")
