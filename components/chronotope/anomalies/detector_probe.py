"""Clean process of a detector's blessing: opens its files, scores events, prints what it measured.

python -m chronotope.anomalies.detector_probe FOLDER EVENTS.npz
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from chronotope.anomalies.behaviour_features import FeatureTable
from chronotope.anomalies.detector_files import load_detector

_N_TIMED = 50


def main(folder: Path, events_path: Path) -> None:
    """Score stored events with a stored detector; print agreement and latency as JSON."""
    detector = load_detector(folder).detector
    with np.load(events_path, allow_pickle=False) as stored:
        features = FeatureTable(tuple(stored["names"].tolist()), stored["values"])
        expected = stored["surprise"]
    difference = float(np.abs(detector.surprise(features) - expected).max())
    first_event = features.take(np.arange(1))
    seconds = []
    for _ in range(_N_TIMED):
        start_s = time.perf_counter()
        detector.surprise(first_event)
        seconds.append(time.perf_counter() - start_s)
    measured = {
        "max_difference": difference,
        "latency_ms": 1000 * statistics.median(seconds),
        "imports_torch": float("torch" in sys.modules),
    }
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
