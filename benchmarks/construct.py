"""A pandas frame of 1.5 M rows becomes a log: time and memory beside RecTools' Dataset.construct.

    python -m benchmarks.construct --python /path/to/an/environment/with/rectools/bin/python

Each runs in a process of its own; processor seconds of the call, and memory.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Final

N_ROWS: Final = 1_500_000

_FRAME: Final = """
import json, resource, sys, time
import numpy as np, pandas as pd
rng = np.random.default_rng(0)
n = int(sys.argv[1])
frame = pd.DataFrame({
    "user_id": rng.integers(0, 20_000, n),
    "item_id": (rng.pareto(1.2, n) * 50).astype(int) % 20_000,
    "datetime": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 365 * 86_400, n), "s"),
})
if sys.argv[2] == "text":
    frame["user_id"] = "u" + frame["user_id"].astype(str)
    frame["item_id"] = "i" + frame["item_id"].astype(str)
frame["weight"] = 1.0
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
"""
_RECTOOLS: Final = """
from rectools.dataset import Dataset
before, start = peak(), time.process_time()
Dataset.construct(frame)
"""
_CHRONOTOPE: Final = """
import chronotope as ct
small = frame.head(1_000)
columns = dict(user="user_id", item="item_id", time="datetime", value="weight")
ct.Log.from_frame(small, **columns).events
before, start = peak(), time.process_time()
log = ct.Log.from_frame(frame, **columns)
checked = time.process_time() - start
log.events
"""
_RESULT: Final = """
cost = {"cpu_s": time.process_time() - start, "above_mb": peak() - before, "peak_mb": peak()}
print(json.dumps(cost | ({"checked_cpu_s": checked} if "checked" in globals() else {})))
"""


def measure(python: Path | str, program: str, ids: str) -> dict[str, float]:
    """Cost of a program in a process of its own.

    Args:
        python: Interpreter.
        program: Statements between the frame and the result.
        ids: ``number`` or ``text``.
    """
    command = [str(python), "-c", _FRAME + program + _RESULT, str(N_ROWS), ids]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    cost: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return cost


def main() -> None:
    """Measure both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="interpreter with RecTools")
    arguments = parser.parse_args()
    for ids in ("number", "text"):
        costs = {
            "RecTools": measure(arguments.python, _RECTOOLS, ids),
            "Chronotope": measure(sys.executable, _CHRONOTOPE, ids),
        }
        for library, cost in costs.items():
            print(ids, library, {name: round(value, 2) for name, value in cost.items()})


if __name__ == "__main__":
    main()
