"""A pandas frame of 1.5 M rows becomes a log: time and memory beside RecTools' Dataset.construct.

    python -m benchmarks.construct --python /path/to/an/environment/with/rectools/bin/python

Each runs five times, in processes of their own, in turn: medians of the processor seconds of the
call and of the memory that it takes above what the process holds before. The frame is read and the
libraries are imported before that.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Final

N_ROWS: Final = 1_500_000
N_RUNS: Final = 5

_FRAME: Final = """
import json, sys, time
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
def memory_mb(label):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(label)) / 1_000
def start_measure():
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts again at what is held now
    return memory_mb("VmRSS"), time.process_time()
def peak():
    return memory_mb("VmHWM")
"""
_RECTOOLS: Final = """
from rectools.dataset import Dataset
before, start = start_measure()
Dataset.construct(frame)
"""
_CHRONOTOPE: Final = """
import chronotope as ct
columns = dict(user="user_id", item="item_id", time="datetime", value="weight")
ct.Log.from_frame(frame.head(1_000), **columns).events  # imports, as those of the other
before, start = start_measure()
log = ct.Log.from_frame(frame, **columns)
checked, checked_mb = time.process_time() - start, peak() - before
log.events
"""
_RESULT: Final = """
cost = {"cpu_s": time.process_time() - start, "above_mb": peak() - before, "peak_mb": peak()}
if "checked" in globals():
    cost |= {"from_frame_cpu_s": checked, "from_frame_above_mb": checked_mb}
print(json.dumps(cost))
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
    programs = {
        "RecTools": (arguments.python, _RECTOOLS),
        "Chronotope": (sys.executable, _CHRONOTOPE),
    }
    for ids in ("number", "text"):
        runs = [
            {
                library: measure(python, program, ids)
                for library, (python, program) in programs.items()
            }
            for _ in range(N_RUNS)
        ]
        for library in programs:
            names = runs[0][library]
            medians = {name: median(run[library][name] for run in runs) for name in names}
            print(ids, library, {name: round(value, 2) for name, value in medians.items()})


if __name__ == "__main__":
    main()
