"""Cost of distributed tasks: opening an engine, and each task, against this process.

Run ``python -m benchmarks.engine [--tasks 200] [--seconds 0.5] [--json FILE]``.

``open_s`` and ``close_s`` are those of a private Ray cluster; ``empty_ms`` is the time of a task
that does nothing, with a warm worker; ``gain`` is the speed-up of busy tasks against this process,
at best the number of cores.
"""

import argparse
import json
import os
import time
from functools import partial
from pathlib import Path

from chronotope.runtime.engine import Engine, EngineConfig, LocalEngine, open_engine


def main() -> None:
    """Measure a private cluster against this process and print the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.5, help="processor time of a busy task")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = measure(EngineConfig(kind="ray"), args.tasks, args.seconds)
    text = json.dumps(found, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text, encoding="utf-8")


def measure(config: EngineConfig, n_tasks: int, seconds: float) -> dict[str, float]:
    """Measure the numbers that the module's docstring names.

    Args:
        config: The engine that is compared with this process.
        n_tasks: Number of empty tasks; a tenth as many are busy.
        seconds: Processor time of a busy task.
    """
    n_busy, clock = max(2, n_tasks // 10), time.perf_counter
    began = clock()
    with open_engine(config) as engine:
        opened = clock()
        timed(engine, 0.0, n_tasks)  # the first tasks start workers
        warm = timed(engine, 0.0, n_tasks)
        there = timed(engine, seconds, n_busy)
        ended = clock()
    closed = clock()
    here = timed(LocalEngine(), seconds, n_busy)
    return {
        "n_cores": float(os.cpu_count() or 1),
        "open_s": round(opened - began, 2),
        "close_s": round(closed - ended, 2),
        "empty_ms": round(1000 * warm / n_tasks, 3),
        "busy_here_s": round(here, 2),
        "busy_there_s": round(there, 2),
        "gain": round(here / there, 2),
    }


def timed(engine: Engine, seconds: float, n_tasks: int) -> float:
    """Seconds until all tasks are done."""
    began = time.perf_counter()
    for _ in engine.map(partial(_work, seconds), range(n_tasks)):
        pass
    return time.perf_counter() - began


def _work(seconds: float, _: int) -> None:
    """Use the given seconds of processor time, whatever else runs."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


if __name__ == "__main__":
    main()
