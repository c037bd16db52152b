"""Runs of a flow in processes of their own, watched, or killed in a chosen step.

A step is a function that a flow calls by its name. It is wrapped where the flow looks it up, so
the flow itself is unchanged.
"""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, Literal, cast

import flows.collect_feedback
import flows.ingest_events
import flows.train_model
from benchmarks.kill_matrix.town import Town
from chronotope.contracts.errors import ChronotopeError

Point = Literal["start", "half-way", "done"]
POINTS: Final[tuple[Point, ...]] = ("start", "half-way", "done")

_LEARNS: Final = (
    "compress_model",
    "evaluate_holdout",
    "register_version",
    "promote_version",
    "write_report",
    "publish_training",
    "publish",
    "link_runs",
)
STEPS: Final[dict[str, tuple[str, ...]]] = {
    "train_model": (
        *("write_tables", "write_events", "write_features", "publish_counts", "freeze_folds"),
        *("search_parameters", "select_context_columns", "train_final_model", *_LEARNS),
    ),
    "collect_feedback": (
        *("ingest_interactions", "write_features", "plan_retraining", "record_retraining_start"),
        *("freeze_later_folds", "warm_start", *_LEARNS),
        *("record_retraining_end", "publish_feedback"),
    ),
}
"""Steps of each flow, in the order it takes them."""

_ROOMS: Final = (flows.ingest_events, flows.train_model, flows.collect_feedback)
_PRELOADED: Final = ["benchmarks.kill_matrix.doom"]
_LIMIT_S: Final = 900.0


@dataclass(frozen=True)
class Doom:
    """Step and point at which a run is killed.

    Attributes:
        step: Name of the step.
        point: Point of the step.
        seconds: Duration of the step undisturbed.
    """

    step: str
    point: Point
    seconds: float

    def wrap(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The step, wrapped to kill its own process and all its children."""

        def dying(*words: Any, **more: Any) -> Any:
            if self.point == "start":
                _die()
            if self.point == "half-way":
                threading.Timer(self.seconds / 2, _die).start()
            work(*words, **more)
            _die()

        return dying


def run_watched(root: Path, flow: str) -> dict[str, float]:
    """Run a flow to its end; returns the seconds of each step."""
    said = root.parent / "seconds.json"
    _in_child(_watch, root, flow, said)
    seconds: dict[str, float] = json.loads(said.read_text(encoding="utf-8"))
    missing = set(STEPS[flow]) - set(seconds)
    if missing:
        raise ChronotopeError("The flow took other steps than it should", received=missing)
    return seconds


def run_doomed(root: Path, flow: str, doom: Doom) -> bool:
    """Run a flow until it is killed; False if it ended because the step was done already.

    Raises:
        ChronotopeError: It failed for another reason.
    """
    code = _exit_code(_perish, root, flow, doom)
    if code not in (0, -signal.SIGKILL):
        raise ChronotopeError("The flow was to be killed", received=(doom, code))
    return code != 0


def run_killed_after(root: Path, flow: str, seconds: float) -> bool:
    """Run a flow, and kill it from outside after some time; False if it ended before.

    Raises:
        ChronotopeError: It failed for another reason.
    """
    child = _started(_lead, root, flow)
    child.join(seconds)
    if child.exitcode is None:
        os.killpg(cast("int", child.pid), signal.SIGKILL)
        child.join(_LIMIT_S)
    if child.exitcode not in (0, -signal.SIGKILL):
        raise ChronotopeError("The flow was to be killed", received=(seconds, child.exitcode))
    return child.exitcode != 0


def run_to_end(root: Path, flow: str) -> dict[str, Any]:
    """Run a flow to its end; returns the town's state."""
    said = root.parent / "state.json"
    _in_child(_finish, root, flow, said)
    state: dict[str, Any] = json.loads(said.read_text(encoding="utf-8"))
    return state


def look(root: Path) -> dict[str, Any]:
    """The present state of the town."""
    return run_to_end(root, "")


def _watch(root: Path, flow: str, said: Path) -> None:
    seconds: dict[str, float] = {}

    def timed(step: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*words: Any, **more: Any) -> Any:
            began = time.perf_counter()
            found = work(*words, **more)
            seconds[step] = time.perf_counter() - began
            return found

        return watched

    for step in STEPS[flow]:
        _replace(step, partial(timed, step))
    Town(root).run(flow)
    said.write_text(json.dumps(seconds), encoding="utf-8")


def _perish(root: Path, flow: str, doom: Doom) -> None:
    os.setsid()
    _replace(doom.step, doom.wrap)
    Town(root).run(flow)


def _lead(root: Path, flow: str) -> None:
    os.setsid()
    Town(root).run(flow)


def _finish(root: Path, flow: str, said: Path) -> None:
    if flow:
        Town(root).run(flow)
    said.write_text(json.dumps(Town(root).state()), encoding="utf-8")


def _replace(step: str, wrapped: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Wrap a step wherever a flow looks it up."""
    for room in _ROOMS:
        if hasattr(room, step):
            setattr(room, step, wrapped(getattr(room, step)))


def _die() -> None:
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _in_child(work: Callable[..., None], *told: Any) -> None:
    code = _exit_code(work, *told)
    if code != 0:
        raise ChronotopeError("The flow did not come to its end", received=(work.__name__, code))


def _exit_code(work: Callable[..., None], *told: Any) -> int | None:
    """Exit code of a fresh process."""
    child = _started(work, *told)
    child.join(_LIMIT_S)
    if child.is_alive():
        child.kill()
        raise ChronotopeError("The flow hangs", received=(work.__name__, told))
    return child.exitcode


def _started(work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A fresh process with loaded modules."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    child = context.Process(target=work, args=arguments)
    child.start()
    return child
