"""Do a step once: a run that was killed goes on after its last finished step."""

import logging
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from chronotope.contracts.errors import StoreError
from chronotope.runtime.durable_files import read_json, write_json
from chronotope.runtime.private_files import private_folder

_LOG = logging.getLogger(__name__)

_WHAT: Final = "The result of a step"
_WAY_OUT: Final = "`chronotope doctor --repair` moves it aside, and the step is done again"


def run_step(
    run: Path,
    step: str,
    work: Callable[[], Any],
    *,
    is_current: Callable[[Any], bool] = lambda _: True,
) -> Any:
    """The step's result: read if it was finished before, else worked out and kept.

    The result lies in ``<run>/<step>.json`` beside the seconds it took and the peak
    memory of the process by then; it is written whole or not at all. A step whose file is
    damaged is done again.

    Args:
        run: Folder of this run.
        step: Name of the step.
        work: Does the step; returns something JSON-able.
        is_current: Whether an earlier result still holds, such as one that names an entry of a
            store, which may have been replaced since; else the step is done again.
    """
    path = run / f"{step}.json"
    if path.exists():
        try:
            earlier = step_result(run, step)
            if is_current(earlier):
                return earlier
            _LOG.warning("Step %s is done again: the store does not hold %s", step, earlier)
        except StoreError as error:
            _LOG.warning("Step %s is done again: %s", step, error)
    began = time.perf_counter()
    result = work()
    kept = {
        "result": result,
        "seconds": round(time.perf_counter() - began, 3),
        "peak_mb": round(peak_mb(), 1),
    }
    private_folder(run)
    write_json(path, kept)
    return result


def step_result(run: Path, step: str) -> Any:
    """What a finished step returned; None if it has not finished.

    Args:
        run: Folder of the run.
        step: Name of the step.

    Raises:
        StoreError: Its file is damaged.
    """
    path = run / f"{step}.json"
    return _kept(path)["result"] if path.exists() else None


def step_costs(run: Path) -> dict[str, dict[str, float]]:
    """``seconds`` and ``peak_mb`` of each finished step, in the order they finished.

    Raises:
        StoreError: A file of the run is damaged.
    """
    files = sorted(run.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    kept = {path.stem: read_json(path, what=_WHAT, way_out=_WAY_OUT) for path in files}
    return {
        step: {"seconds": found["seconds"], "peak_mb": found["peak_mb"]}
        for step, found in kept.items()
        if "seconds" in found
    }


def _kept(path: Path) -> dict[str, Any]:
    kept = read_json(path, what=_WHAT, way_out=_WAY_OUT)
    if "result" not in kept:
        raise StoreError(f"{_WHAT} cannot be read", received=f"{path}: none", way_out=_WAY_OUT)
    return kept


def peak_mb() -> float:
    """Peak resident memory of this process so far, in megabytes (2^20 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0 if sys.platform != "darwin" else 1024.0**2)
