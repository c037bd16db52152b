"""Step cache: stored results of finished steps, from which a killed run resumes."""

import logging
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from chronotope.contracts.errors import StoreError
from chronotope.contracts.strict_json import JsonObject
from chronotope.runtime.durable_files import read_json, write_json
from chronotope.runtime.private_files import private_folder

_LOG = logging.getLogger(__name__)

_FILE_ROLE: Final = "The result of a step"
_WAY_OUT: Final = "`chronotope doctor --repair` moves it aside, and the step runs again"

Result = TypeVar("Result")
Params = ParamSpec("Params")


class StepCost(BaseModel):
    """Time and memory of one finished step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(ge=0, description="Wall-clock time")
    peak_mb: float = Field(ge=0, description="Peak resident memory of the process, 2^20 bytes")


def run_step(
    run_dir: Path,
    step_name: str,
    result_type: type[Result],
    function: Callable[Params, Result],
    *args: Params.args,
    **kwargs: Params.kwargs,
) -> Result:
    """Result of a step: read if the step has finished before, else computed and stored.

    The result is stored in ``<run_dir>/<step_name>.json`` with the cost of the step; the file is
    written atomically. A step whose file is damaged runs again.

    Args:
        run_dir: Folder of the run.
        step_name: Name of the step and of its file.
        result_type: Type of the result, a pydantic model or a JSON type; validates the file.
        function: Computes the result.
        *args: Positional arguments of the function.
        **kwargs: Keyword arguments of the function.
    """
    return run_verified_step(
        run_dir, step_name, result_type, _always_current, function, *args, **kwargs
    )


def run_verified_step(
    run_dir: Path,
    step_name: str,
    result_type: type[Result],
    is_current: Callable[[Result], bool],
    function: Callable[Params, Result],
    *args: Params.args,
    **kwargs: Params.kwargs,
) -> Result:
    """Like ``run_step``, but a stored result is reused only if it is still valid.

    A result may refer to an entry of a store, such as a registered version. If the store was
    replaced, the entry is gone and the step runs again.

    Args:
        run_dir: Folder of the run.
        step_name: Name of the step and of its file.
        result_type: Type of the result.
        is_current: Whether a stored result is still valid.
        function: Computes the result.
        *args: Positional arguments of the function.
        **kwargs: Keyword arguments of the function.
    """
    if (run_dir / f"{step_name}.json").exists():
        try:
            stored = _read_result(run_dir, step_name, result_type)
            if is_current(stored):
                return stored
            _LOG.warning("Step %s runs again: the store does not contain %s", step_name, stored)
        except StoreError as error:
            _LOG.warning("Step %s runs again: %s", step_name, error)
    start_time = time.perf_counter()
    result = function(*args, **kwargs)
    cost = {
        "seconds": round(time.perf_counter() - start_time, 3),
        "peak_mb": round(peak_mb(), 1),
    }
    json_result = TypeAdapter(result_type).dump_python(result, mode="json")
    private_folder(run_dir)
    write_json(run_dir / f"{step_name}.json", {"result": json_result, **cost})
    return result


def step_result(run_dir: Path, step_name: str, result_type: type[Result]) -> Result | None:
    """Stored result of a step; None if the step has not finished.

    Args:
        run_dir: Folder of the run.
        step_name: Name of the step.
        result_type: Type of the result.

    Raises:
        StoreError: The file is damaged, or its result is not a ``result_type``.
    """
    if not (run_dir / f"{step_name}.json").exists():
        return None
    return _read_result(run_dir, step_name, result_type)


def step_costs(run_dir: Path) -> dict[str, StepCost]:
    """Cost of each finished step of a run, in the order in which the steps finished.

    Raises:
        StoreError: A file of the run is damaged.
    """
    paths = sorted(run_dir.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    contents = {path.stem: _read_file(path) for path in paths}
    return {
        step_name: StepCost(seconds=content["seconds"], peak_mb=content["peak_mb"])
        for step_name, content in contents.items()
        if "seconds" in content
    }


def peak_mb() -> float:
    """Peak resident memory of this process so far, in megabytes (2^20 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0 if sys.platform != "darwin" else 1024.0**2)


def _always_current(_stored: object) -> bool:
    return True


def _read_result(run_dir: Path, step_name: str, result_type: type[Result]) -> Result:
    result_path = run_dir / f"{step_name}.json"
    content = _read_file(result_path)
    if "result" not in content:
        raise StoreError(
            f"{_FILE_ROLE} cannot be read",
            received=f"{result_path}: it has no key 'result'",
            way_out=_WAY_OUT,
        )
    try:
        return TypeAdapter(result_type).validate_python(content["result"])
    except ValidationError as error:
        raise StoreError(
            f"{_FILE_ROLE} cannot be read", received=f"{result_path}: {error}", way_out=_WAY_OUT
        ) from error


def _read_file(result_path: Path) -> JsonObject:
    return read_json(result_path, subject=_FILE_ROLE, way_out=_WAY_OUT)
