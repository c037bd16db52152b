"""Searches parameters over frozen folds; the only room that knows Optuna.

One trial is one set of parameters, trained on every fold and reported fold by fold, so
that a Wilcoxon test against the best trial can stop it early. Trials are drawn, judged and
told in batches, so what is drawn depends on the size of a batch and never on which task is
finished first. A study lives in a database: a killed one is resumed by calling ``tune``
again with the same name, and ends as if it had never been killed, because what is drawn next
depends on the trials that are finished and on nothing else.
"""

import json
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Protocol

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import WilcoxonPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FixedTrial, TrialState
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.contracts.protocols import Tracker
from chronotope.runtime.engine import Engine, LocalEngine
from chronotope.tuning.study_database import open_study_database
from chronotope.tuning.trial_batch import (
    Objective,
    SampledParams,
    TrackerFactory,
    TrialContext,
    evaluate_batch,
)


class ParameterSuggester(Protocol):
    """What a search space draws from; an Optuna trial satisfies it."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A real number in [low, high]."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number in [low, high]."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""


SearchSpace = Callable[[ParameterSuggester], dict[str, object]]
"""Draws one set of parameters."""

_DONE = (TrialState.COMPLETE, TrialState.PRUNED)

_ENDED = "ended"
"""Attribute of trials that failed: by what. Those whose process died have none."""

_FIXED = "fixed_params"
"""Optuna's attribute of trials that were queued, as the default is, not drawn."""


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
    max_retries: int = Field(2, ge=0, description="Retries of a trial whose process died")
    batch: int = Field(
        1,
        ge=1,
        le=1000,
        description="Trials drawn before any of them is judged: as many may be judged side by "
        "side. The search depends on it, not on the engine",
    )


@dataclass(frozen=True, slots=True)
class BestTrial:
    """The best completed trial.

    Attributes:
        params: What the search space drew.
        value: Mean of the objective over the folds.
        trial_number: How many finished trials came before it.
        fold_values: The objective on each fold, earliest first.
    """

    params: dict[str, object]
    value: float
    trial_number: int
    fold_values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class StudyStorage:
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
    storage: StudyStorage,
    tracker_factory: TrackerFactory,
    engine: Engine = LocalEngine(),  # noqa: B008 - holds nothing
) -> BestTrial:
    """Search parameters, or go on searching where a killed study stopped.

    The default is tried first, so the result is never worse than it on these folds. One process
    at a time works on a study: a trial that runs when it is opened is of one that was killed.

    Args:
        space: Draws parameters.
        objective: Judges parameters on one fold.
        n_folds: Folds 0 .. n_folds - 1, frozen for the life of the study.
        default: Values of the suggested names to try first.
        config: Budget, seed and pruning.
        storage: Where the study lives.
        tracker_factory: Opens runs for the study, its trials and their folds.
        engine: Judges folds of trials; the result does not depend on which.

    Raises:
        ConfigError: There is no fold, or the study was made with other folds.
        StoreError: No trial was completed within the budget.
        EngineError: A fold was lost more often than the engine retries it.
    """
    if n_folds < 1:
        raise ConfigError("Tuning needs at least one fold", received=n_folds)
    how = TrialContext(objective, n_folds, _n_sure(config, n_folds), engine, tracker_factory)
    with open_study_database(storage.url) as database:
        study = _open(config, storage, database, n_folds)
        _bury(study)
        _enqueue(study, default)
        with tracker_factory(storage.study_name, None) as tracker:
            for n_trials in _sizes(study, config):
                _reseed(study, config)
                _judge(study, _draw(study, space, n_trials), how, tracker)
            best = _best(study, space)
            tracker.metrics({"best_value": best.value, "n_trials": _n_done(study)})
            tracker.params({f"best_{name}": value for name, value in best.params.items()})
    return best


def _n_sure(config: StudyConfig, n_folds: int) -> int:
    """Folds that every trial needs: with fewer no difference reaches the p-value, 1 / 2^n."""
    enough = (n for n in range(config.n_startup_folds, n_folds) if 0.5**n < config.prune_p)
    return next(enough, n_folds)


def _open(
    config: StudyConfig, storage: StudyStorage, database: RDBStorage, n_folds: int
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=database,
        study_name=storage.study_name,
        direction="maximize",
        pruner=_pruner(config),
        load_if_exists=True,
    )
    if study.user_attrs.get("n_folds", n_folds) != n_folds:
        raise ConfigError(
            "The study was made with another number of folds",
            received=f"{n_folds}, study {storage.study_name!r} has {study.user_attrs['n_folds']}",
            way_out="Choose another study name; the folds of a study are frozen",
        )
    study.set_user_attr("n_folds", n_folds)
    return study


def _pruner(config: StudyConfig) -> WilcoxonPruner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return WilcoxonPruner(p_threshold=config.prune_p, n_startup_steps=config.n_startup_folds)


def _bury(study: optuna.Study) -> None:
    """Fail what a killed process left running."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _enqueue(study: optuna.Study, default: dict[str, Any]) -> None:
    """Queue the default unless it waits or was judged, however often its process died."""
    tried = study.get_trials(deepcopy=False, states=(*_DONE, TrialState.WAITING))
    if not any(trial.system_attrs.get(_FIXED) == default for trial in tried):
        study.enqueue_trial(default)


def _reseed(study: optuna.Study, config: StudyConfig) -> None:
    """Draw the same next trials however often the study was killed.

    Parameters that were drawn and raised an error, or killed their process too often, are not
    drawn again.
    """
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    drawn = [trial for trial in failed if _FIXED not in trial.system_attrs]
    deaths = Counter(_key(trial.params) for trial in drawn if _ENDED not in trial.user_attrs)
    n_lost = sum(trial.user_attrs.get(_ENDED) == "error" for trial in drawn)
    n_lost += sum(n > config.max_retries for n in deaths.values())
    study.sampler = TPESampler(
        seed=config.seed + _n_done(study) + n_lost, n_startup_trials=config.n_startup_trials
    )


def _key(params: dict[str, Any]) -> str:
    return json.dumps(params, sort_keys=True, default=str)


def _sizes(study: optuna.Study, config: StudyConfig) -> Iterator[int]:
    """How many trials to try next, until trials or time are used up."""
    began = time.monotonic()
    while (n_left := config.n_trials - _n_done(study)) > 0:
        if config.timeout_s is not None and time.monotonic() - began >= config.timeout_s:
            return
        yield min(config.batch, n_left)


def _draw(study: optuna.Study, space: SearchSpace, n_trials: int) -> list[SampledParams]:
    """Draw trials one after the other; the sampler knows which are drawn already."""
    drawn = []
    for _ in range(n_trials):
        trial = study.ask()
        drawn.append((trial, space(trial)))
    return drawn


def _judge(
    study: optuna.Study, drawn: list[SampledParams], how: TrialContext, run: Tracker
) -> None:
    """Judge trials and tell the study in the order they were drawn; an error fails them."""
    try:
        batch = evaluate_batch(drawn, how, run)
    except (Exception, KeyboardInterrupt) as error:
        for trial, _ in drawn:
            by_hand = isinstance(error, KeyboardInterrupt)
            trial.set_user_attr(_ENDED, "interrupted" if by_hand else "error")
            study.tell(trial, state=TrialState.FAIL)
        raise
    for judged in batch:
        if judged.is_whole(how.n_folds):
            study.tell(judged.trial, fmean(judged.values))
        else:
            study.tell(judged.trial, state=TrialState.PRUNED)


def _n_done(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=_DONE))


def _best(study: optuna.Study, space: SearchSpace) -> BestTrial:
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
    done = study.get_trials(deepcopy=False, states=_DONE)
    before = sum(trial.number < best.number for trial in done)
    return BestTrial(params, float(best.value or 0.0), before, values)
