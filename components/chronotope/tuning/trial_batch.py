"""Judge a batch of trials, their folds side by side, with values that no timing changes."""

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
"""Trains and judges parameters on a fold (its index); higher is better.

The same for the same parameters and fold; one that leaves this process holds paths, not data.
"""


SampledParams = tuple[optuna.Trial, dict[str, object]]
"""A trial and its parameters."""


class TrackerFactory(Protocol):
    """Opens a run, nested in another when ``parent`` is given."""

    def __call__(self, run_name: str, parent: Tracker | None) -> AbstractContextManager[Tracker]:
        """Open a run and yield where it is reported to."""


@dataclass(frozen=True, slots=True)
class TrialContext:
    """How a trial is judged.

    Attributes:
        objective: Judges parameters on one fold.
        n_folds: Folds 0 .. n_folds - 1.
        n_sure: Folds before a trial may be stopped: these may be judged side by side.
        engine: Does the tasks.
        opened: Opens runs.
    """

    objective: Objective
    n_folds: int
    n_sure: int
    engine: Engine
    opened: TrackerFactory

    def waves(self) -> Iterator[range]:
        """Folds that are handed in together; in this process each waits for the one before."""
        n_first = 1 if self.engine.in_process else min(self.n_sure, self.n_folds)
        yield range(n_first)
        for fold in range(n_first, self.n_folds):
            yield range(fold, fold + 1)


@dataclass(slots=True)
class TrialResult:
    """A trial and what its folds said, earliest first; fewer if it was stopped."""

    trial: optuna.Trial
    params: dict[str, object]
    run: Tracker
    values: list[float] = field(default_factory=list)
    stopped: bool = False

    def is_whole(self, n_folds: int) -> bool:
        """Whether every fold was judged, and none diverged."""
        return len(self.values) == n_folds and math.isfinite(self.values[-1])

    def take(self, value: float) -> None:
        """Report the next fold; stop if it diverged or the best trial is surely better."""
        self.values.append(value)
        if not math.isfinite(value):
            self.stopped = True
            return
        self.trial.report(value, len(self.values) - 1)
        self.stopped = self.trial.should_prune()


def evaluate_batch(
    drawn: Sequence[SampledParams], how: TrialContext, study_run: Tracker
) -> list[TrialResult]:
    """Judge trials on their folds; whether one is stopped depends on earlier batches alone.

    Args:
        drawn: Trials and their parameters.
        how: Objective, folds and engine.
        study_run: Run that those of the trials are nested in.
    """
    with ExitStack() as stack:
        batch = []
        for trial, params in drawn:
            run = stack.enter_context(how.opened(f"trial {trial.number}", study_run))
            run.params(params)
            batch.append(TrialResult(trial, params, run))
        for folds in how.waves():
            _judge_wave([of for of in batch if not of.stopped], folds, how)
        for judged in batch:
            values = judged.values
            judged.run.metrics({"value": fmean(values), "n_folds": len(values)})
    return batch


@dataclass(frozen=True, slots=True)
class _Task:
    """A fold to judge; a tracker only where it is used in this process."""

    params: dict[str, object]
    fold: int
    live: Tracker | None


def _judge_wave(batch: Sequence[TrialResult], folds: range, how: TrialContext) -> None:
    """Judge some folds of trials; what a trial that is stopped says further is left out."""
    pairs = [(judged, fold) for judged in batch for fold in folds]
    with ExitStack() as stack:
        waiting: list[tuple[Tracker, ExitStack]] = []

        def tasks() -> Iterator[_Task]:
            for judged, fold in pairs:  # a run opens when its task is handed in
                mine = stack.enter_context(ExitStack())
                run = mine.enter_context(how.opened(f"fold {fold}", judged.run))
                waiting.append((run, mine))
                yield _Task(judged.params, fold, run if how.engine.in_process else None)

        results = how.engine.map(partial(_judge, how.objective), tasks())
        for (judged, _), (value, notes) in zip(pairs, results, strict=True):
            run, mine = waiting.pop(0)
            notes.tell(run)
            run.metrics({"value": value})
            mine.close()
            if not judged.stopped:
                judged.take(value)


def _judge(objective: Objective, task: _Task) -> tuple[float, "_Notes"]:
    notes = _Notes()
    return objective(task.params, task.fold, task.live or notes), notes


@dataclass(slots=True)
class _Notes:
    """A tracker for where no store is at hand: it remembers what to report."""

    metrics_said: list[tuple[dict[str, float], int]] = field(default_factory=list)
    params_said: dict[str, object] = field(default_factory=dict)

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Remember metrics of one step."""
        self.metrics_said.append((dict(values), step))

    def params(self, values: Mapping[str, object]) -> None:
        """Remember parameters."""
        self.params_said |= values

    def artifact(self, path: Path, *, folder: str = "") -> None:  # noqa: ARG002
        """Files stay where they were written.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "A fold that is judged on another machine cannot keep files",
            received=path,
            way_out="Return what is in them, or choose the engine local",
        )

    def tell(self, run: Tracker) -> None:
        """Report what was remembered."""
        if self.params_said:
            run.params(self.params_said)
        for values, step in self.metrics_said:
            run.metrics(values, step=step)
