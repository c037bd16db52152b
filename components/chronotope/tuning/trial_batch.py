"""Evaluation of a batch of trials, folds in parallel, with results independent of timing."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Protocol

import optuna

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.protocols import Tracker
from chronotope.runtime.engine import Engine

Objective = Callable[[dict[str, object], int, Tracker], float]
"""Trains and evaluates parameters on a fold (its index); higher is better.

Deterministic for the same parameters and fold; one that leaves this process holds paths, not data.
"""


SampledParams = tuple[optuna.Trial, dict[str, object]]
"""A trial and its parameters."""


class TrackerFactory(Protocol):
    """Opens a run, nested in another when ``parent`` is given."""

    def __call__(self, run_name: str, parent: Tracker | None) -> AbstractContextManager[Tracker]:
        """Open a run and yield its tracker."""


@dataclass(frozen=True, slots=True)
class TrialContext:
    """Objective, folds and engine that evaluate trials.

    Attributes:
        objective: Evaluates parameters on one fold.
        n_folds: Folds 0 .. n_folds - 1.
        n_required_folds: Folds before a trial may be stopped: these may run in parallel.
        engine: Runs the tasks.
        open_run: Opens tracking runs.
    """

    objective: Objective
    n_folds: int
    n_required_folds: int
    engine: Engine
    open_run: TrackerFactory

    def fold_groups(self) -> Iterator[range]:
        """Folds that are submitted together; in this process one after the other."""
        n_first = 1 if self.engine.in_process else min(self.n_required_folds, self.n_folds)
        yield range(n_first)
        for fold in range(n_first, self.n_folds):
            yield range(fold, fold + 1)


@dataclass(slots=True)
class TrialResult:
    """A trial and its fold values, earliest first; fewer if it was stopped."""

    trial: optuna.Trial
    params: dict[str, object]
    run: Tracker
    fold_values: list[float] = field(default_factory=list)
    is_stopped: bool = False

    def is_complete(self, n_folds: int) -> bool:
        """Whether every fold was evaluated, and none diverged."""
        return len(self.fold_values) == n_folds and math.isfinite(self.fold_values[-1])

    def add_fold(self, fold_value: float) -> None:
        """Report the next fold; stop if it diverged or is significantly worse than the best."""
        self.fold_values.append(fold_value)
        if not math.isfinite(fold_value):
            self.is_stopped = True
            return
        self.trial.report(fold_value, len(self.fold_values) - 1)
        self.is_stopped = self.trial.should_prune()


def evaluate_batch(
    sampled_trials: Sequence[SampledParams], context: TrialContext, study_run: Tracker
) -> list[TrialResult]:
    """Evaluate trials on their folds; whether one is stopped depends on earlier batches alone.

    Args:
        sampled_trials: Trials and their parameters.
        context: Objective, folds and engine.
        study_run: Parent run of the trials' runs.
    """
    with ExitStack() as exit_stack:
        trial_results = []
        for trial, params in sampled_trials:
            trial_run = context.open_run(f"trial {trial.number}", study_run)
            tracker = exit_stack.enter_context(trial_run)
            tracker.params(params)
            trial_results.append(TrialResult(trial, params, tracker))
        for folds in context.fold_groups():
            running_trials = [result for result in trial_results if not result.is_stopped]
            _evaluate_folds(running_trials, folds, context)
        for trial_result in trial_results:
            fold_values = trial_result.fold_values
            trial_result.run.metrics({"value": fmean(fold_values), "n_folds": len(fold_values)})
    return trial_results


@dataclass(frozen=True, slots=True)
class _FoldTask:
    """A fold to evaluate; with a tracker only where it runs in this process."""

    params: dict[str, object]
    fold: int
    tracker: Tracker | None


def _evaluate_folds(
    trial_results: Sequence[TrialResult], folds: range, context: TrialContext
) -> None:
    """Evaluate some folds of trials; values after a trial was stopped are discarded."""
    trial_folds = [(trial_result, fold) for trial_result in trial_results for fold in folds]
    with ExitStack() as exit_stack:
        open_runs: list[tuple[Tracker, ExitStack]] = []

        def fold_tasks() -> Iterator[_FoldTask]:
            for trial_result, fold in trial_folds:  # a run opens when its task is submitted
                run_stack = exit_stack.enter_context(ExitStack())
                fold_run = context.open_run(f"fold {fold}", trial_result.run)
                tracker = run_stack.enter_context(fold_run)
                open_runs.append((tracker, run_stack))
                in_process = context.engine.in_process
                yield _FoldTask(trial_result.params, fold, tracker if in_process else None)

        fold_results = context.engine.map(partial(_evaluate_fold, context.objective), fold_tasks())
        for (trial_result, _), (fold_value, recorded) in zip(
            trial_folds, fold_results, strict=True
        ):
            tracker, run_stack = open_runs.pop(0)
            recorded.replay(tracker)
            tracker.metrics({"value": fold_value})
            run_stack.close()
            if not trial_result.is_stopped:
                trial_result.add_fold(fold_value)


def _evaluate_fold(objective: Objective, task: _FoldTask) -> tuple[float, "_RecordingTracker"]:
    recording_tracker = _RecordingTracker()
    tracker = task.tracker or recording_tracker
    return objective(task.params, task.fold, tracker), recording_tracker


@dataclass(slots=True)
class _RecordingTracker:
    """A tracker for remote processes without a store: it records what to report."""

    recorded_metrics: list[tuple[dict[str, float], int]] = field(default_factory=list)
    recorded_params: dict[str, object] = field(default_factory=dict)

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Record metrics of one step."""
        self.recorded_metrics.append((dict(values), step))

    def params(self, values: Mapping[str, object]) -> None:
        """Record parameters."""
        self.recorded_params |= values

    def artifact(self, path: Path, *, folder: str = "") -> None:  # noqa: ARG002
        """Refuse a file: it would remain on the remote machine.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "A fold that is evaluated on another machine cannot store files",
            received=path,
            way_out="Return their contents, or choose the engine local",
        )

    def replay(self, tracker: Tracker) -> None:
        """Report the recorded parameters and metrics."""
        if self.recorded_params:
            tracker.params(self.recorded_params)
        for metric_values, step in self.recorded_metrics:
            tracker.metrics(metric_values, step=step)
