"""Do a step once: a run that was killed goes on after its last finished step."""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chronotope.contracts.json_files import damaged, read_json


def once(run: Path, step: str, work: Callable[[], Any]) -> Any:
    """The step's result: read if it was finished before, else worked out and kept.

    The result lies in ``<run>/<step>.json`` beside the seconds it took and the peak
    memory of the process by then; it is written whole or not at all.

    Args:
        run: Folder of this run.
        step: Name of the step.
        work: Does the step; returns something JSON-able.
    """
    path = run / f"{step}.json"
    if path.exists():
        return step_result(run, step)
    began = time.perf_counter()
    result = work()
    kept = {
        "result": result,
        "seconds": round(time.perf_counter() - began, 3),
        "peak_mb": round(peak_mb(), 1),
    }
    run.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(kept, indent=2), encoding="utf-8")
    draft.replace(path)
    return result


def step_result(run: Path, step: str) -> Any:
    """What a finished step returned; None if it has not finished.

    Args:
        run: Folder of the run.
        step: Name of the step.

    Raises:
        StoreError: Its file is empty or damaged.
    """
    path = run / f"{step}.json"
    if not path.exists():
        return None
    record = read_json(path)
    if not isinstance(record, dict) or "result" not in record:
        raise damaged(path, "no result in it")
    return record["result"]


def step_costs(run: Path) -> dict[str, dict[str, float]]:
    """``seconds`` and ``peak_mb`` of each finished step, in the order they finished."""
    files = sorted(run.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    kept = {path.stem: read_json(path) for path in files}
    return {
        step: {"seconds": found["seconds"], "peak_mb": found["peak_mb"]}
        for step, found in kept.items()
        if "seconds" in found
    }


def peak_mb() -> float:
    """Peak resident memory of this process so far, in megabytes (2^20 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0 if sys.platform != "darwin" else 1024.0**2)
