"""Time and memory of each stage at several sizes of one log, and their growth.

Run ``python -m benchmarks.scale --events 1e5 1e6 1e7 [--engine ray] [--json FILE]``.

The log is the simulated city's, written to disk block by block; users grow with it. Each
stage of each size is a fresh process, so that its peak memory is its own. With ``--engine``, the
tasks of a stage run in worker processes or on two raylets; processor time is that of all processes,
Ray's own included, and the memory that of the largest. The slope is that
of a straight line through log(processor seconds) over log(events): 1 is linear. Fixed costs
of small logs lower it, so the slope of the last step is shown as well.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scale.stages import STAGES, measure

TARGET = 1.1
EVENTS_PER_BUCKET = 1_000_000
JUDGED = ("ingestion", "features", "evaluation")


def main(words: Sequence[str] | None = None) -> None:
    """Measure every stage of every size, print the rows and the slopes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=float, nargs="+", default=[1e5, 1e6])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--scratch", type=Path, help="folder of the temporary logs")
    parser.add_argument("--engine", choices=["local", "processes", "ray"], default="local")
    parser.add_argument("--buckets", type=int, default=0, help="0: one per 10^6 events, at most 64")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--only", choices=list(STAGES), help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    sizes = sorted(int(n) for n in args.events)
    if args.only:
        print(json.dumps(measure(args.only, args.scratch, sizes[0], args.engine, args.buckets)))
        return
    rows = [row for n in sizes for row in measured(n, args)]
    grown = slopes(rows)
    for row in grown:
        print(row)
    if args.json:
        found = {"rows": rows, "slopes": grown, "target": TARGET}
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measured(n_events: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measurements of the stages at one size, each in its own process, in a temporary folder."""
    rows = []
    n_buckets = args.buckets or max(1, min(64, n_events // EVENTS_PER_BUCKET))
    with tempfile.TemporaryDirectory(dir=args.scratch) as root:
        for stage in (name for name in STAGES if name in args.stages):
            words = ["--only", stage, "--scratch", root, "--events", str(n_events)]
            words += ["--engine", args.engine, "--buckets", str(n_buckets)]
            command = [sys.executable, "-m", "benchmarks.scale", *words]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
            rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(rows[-1], flush=True)
    return rows


def slopes(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Growth of processor time and memory of each stage, and whether it is linear.

    Args:
        rows: Results of ``measure``, of at least one size.
    """
    found = []
    for stage in STAGES:
        mine = sorted((r for r in rows if r["name"] == stage), key=lambda r: r["events"])
        steps = [_step(a, b) for a, b in pairwise(mine)]
        if not steps:
            continue
        x, y = (np.log([r[key] for r in mine]) for key in ("events", "cpu_s"))
        row = {"name": stage, "slope": round(float(np.polyfit(x, y, 1)[0]), 3), **steps[-1]}
        found.append(row | ({"met": row["slope"] <= TARGET} if stage in JUDGED else {}))
    return found


def _step(small: dict[str, Any], large: dict[str, Any]) -> dict[str, Any]:
    """Slope, and bytes of memory an event more, from one size to the next."""
    more = large["events"] - small["events"]
    rise = math.log(large["cpu_s"] / small["cpu_s"])
    return {
        "last_slope": round(rise / math.log(large["events"] / small["events"]), 3),
        "memory_bytes_an_event": round((large["peak_mb"] - small["peak_mb"]) * 2**20 / more, 1),
    }


if __name__ == "__main__":
    main()
