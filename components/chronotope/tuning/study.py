"""Searches parameters over frozen folds; the only room that knows Optuna.

One trial is one set of parameters, trained on every fold and reported fold by fold, so
that a Wilcoxon test against the best trial can stop it early. A study lives in a
database: a killed one is resumed by calling ``tune`` again with the same name.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Protocol

import optuna
from optuna.exceptions import ExperimentalWarning, TrialPruned
from optuna.pruners import WilcoxonPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import MaxTrialsCallback
from optuna.trial import FixedTrial, TrialState
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.contracts.protocols import Tracker

_DONE = (TrialState.COMPLETE, TrialState.PRUNED)


class Suggest(Protocol):
    """What a search space draws from; an Optuna trial satisfies it."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A real number in [low, high]."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number in [low, high]."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""


SearchSpace = Callable[[Suggest], dict[str, object]]
"""Draws one set of parameters."""

Objective = Callable[[dict[str, object], int, Tracker], float]
"""Trains and judges parameters on a fold (its index); higher is better."""


class TrackerFactory(Protocol):
    """Opens a run, nested in another when ``parent`` is given."""

    def __call__(self, run_name: str, parent: Tracker | None) -> AbstractContextManager[Tracker]:
        """Open a run and yield where it is reported to."""


class StudyConfig(BaseModel):
    """How long and how to search."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_trials: int = Field(20, ge=1, description="Finished trials in total, over all resumes")
    timeout_s: float | None = Field(None, gt=0, description="Start no trial after so many seconds")
    seed: int = Field(0, ge=0, description="Seed of the sampler")
    n_startup_trials: int = Field(5, ge=1, description="Random trials before TPE takes over")
    prune_p: float = Field(
        0.1,
        ge=0,
        le=1,
        description="p-value at which a trial is stopped; 0.1 needs 4 folds or more",
    )
    n_startup_folds: int = Field(2, ge=2, description="Folds before a trial may be stopped")
    heartbeat_s: int = Field(30, ge=1, description="Seconds between signs of life of a trial")
    max_retries: int = Field(2, ge=0, description="Retries of a trial whose process died")


@dataclass(frozen=True, slots=True)
class Best:
    """The best completed trial.

    Attributes:
        params: What the search space drew.
        value: Mean of the objective over the folds.
        trial_number: Number of the trial in the study.
        fold_values: The objective on each fold, earliest first.
    """

    params: dict[str, object]
    value: float
    trial_number: int
    fold_values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a study lives.

    Attributes:
        url: SQLAlchemy address, e.g. ``sqlite:///mlruns/optuna.db``.
        study_name: Name of the study; the same name resumes.
    """

    url: str
    study_name: str


def tune(
    space: SearchSpace,
    objective: Objective,
    *,
    n_folds: int,
    default: dict[str, Any],
    config: StudyConfig,
    storage: Storage,
    tracker_factory: TrackerFactory,
) -> Best:
    """Search parameters, or go on searching where a killed study stopped.

    The default is tried first, so the result is never worse than it on these folds.

    Args:
        space: Draws parameters.
        objective: Judges parameters on one fold.
        n_folds: Folds 0 .. n_folds - 1, frozen for the life of the study.
        default: Values of the suggested names to try first.
        config: Budget, seed and pruning.
        storage: Where the study lives.
        tracker_factory: Opens runs for the study, its trials and their folds.

    Raises:
        ConfigError: There is no fold, or the study was made with other folds.
        StoreError: No trial was completed within the budget.
    """
    study = _open(config, storage, n_folds)
    _enqueue(study, default)
    with tracker_factory(storage.study_name, None) as tracker:
        run_trial = _trial(space, objective, n_folds, tracker, tracker_factory)
        if _n_done(study) < config.n_trials:
            enough = MaxTrialsCallback(config.n_trials, states=_DONE)
            study.optimize(run_trial, timeout=config.timeout_s, callbacks=[enough])
        best = _best(study, space)
        tracker.metrics({"best_value": best.value, "n_trials": _n_done(study)})
        tracker.params({f"best_{name}": value for name, value in best.params.items()})
    return best


def _open(config: StudyConfig, storage: Storage, n_folds: int) -> optuna.Study:
    if n_folds < 1:
        raise ConfigError("Tuning needs at least one fold", received=n_folds)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=_database(config, storage.url),
        study_name=storage.study_name,
        direction="maximize",
        pruner=_pruner(config),
        load_if_exists=True,
    )
    # A resumed sampler must not draw its first trials again.
    study.sampler = TPESampler(
        seed=config.seed + len(study.get_trials(deepcopy=False)),
        n_startup_trials=config.n_startup_trials,
    )
    if study.user_attrs.get("n_folds", n_folds) != n_folds:
        raise ConfigError(
            "The study was made with another number of folds",
            received=f"{n_folds}, study {storage.study_name!r} has {study.user_attrs['n_folds']}",
            way_out="Choose another study name; the folds of a study are frozen",
        )
    study.set_user_attr("n_folds", n_folds)
    return study


@contextmanager
def _experimental() -> Iterator[None]:
    """Heartbeats and the Wilcoxon pruner warn that their interface may change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _database(config: StudyConfig, url: str) -> RDBStorage:
    with _experimental():
        return RDBStorage(
            url,
            heartbeat_interval=config.heartbeat_s,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(config.max_retries),
        )


def _pruner(config: StudyConfig) -> WilcoxonPruner:
    with _experimental():
        return WilcoxonPruner(p_threshold=config.prune_p, n_startup_steps=config.n_startup_folds)


def _enqueue(study: optuna.Study, default: dict[str, Any]) -> None:
    """Queue the default unless it waits or was judged; one left running may be dead."""
    tried = study.get_trials(deepcopy=False, states=(*_DONE, TrialState.WAITING))
    if not any(trial.system_attrs.get("fixed_params") == default for trial in tried):
        study.enqueue_trial(default)


def _trial(
    space: SearchSpace,
    objective: Objective,
    n_folds: int,
    study_run: Tracker,
    tracker_factory: TrackerFactory,
) -> Callable[[optuna.Trial], float]:
    def run(trial: optuna.Trial) -> float:
        params = space(trial)
        values: list[float] = []
        with tracker_factory(f"trial {trial.number}", study_run) as trial_run:
            trial_run.params(params)
            for fold in range(n_folds):
                with tracker_factory(f"fold {fold}", trial_run) as fold_run:
                    values.append(objective(params, fold, fold_run))
                    fold_run.metrics({"value": values[-1]})
                if _hopeless(trial, values):
                    break
            trial_run.metrics({"value": fmean(values), "n_folds": len(values)})
        if len(values) < n_folds or not math.isfinite(values[-1]):
            raise TrialPruned  # outside the run: a trial stopped early did not fail
        return fmean(values)

    return run


def _hopeless(trial: optuna.Trial, values: list[float]) -> bool:
    """Report the last fold; true if it diverged or the best trial is surely better."""
    if not math.isfinite(values[-1]):
        return True
    trial.report(values[-1], len(values) - 1)
    return trial.should_prune()


def _n_done(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=_DONE))


def _best(study: optuna.Study, space: SearchSpace) -> Best:
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not completed:
        raise StoreError(
            "No trial of the study was completed",
            received=f"{study.study_name}: {len(study.get_trials(deepcopy=False))} trials",
            way_out="Give more time, or check that the objective is finite",
        )
    best = study.best_trial
    params = space(FixedTrial(best.params, number=best.number))
    values = tuple(best.intermediate_values[fold] for fold in sorted(best.intermediate_values))
    return Best(params, float(best.value or 0.0), best.number, values)
