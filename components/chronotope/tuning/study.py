"""Hyper-parameter search over frozen folds; with its sibling modules, the only user of Optuna.

One trial is one set of parameters, trained on every fold and reported fold by fold, so
that a Wilcoxon test against the best trial can stop it early. Trials are sampled, evaluated and
reported in batches, so the next sample depends on the batch size and never on which task
finishes first. A study lives in a database: calling ``run_study`` again with the same name
resumes a killed one, with the same result as without interruption, because samples depend
on finished trials alone.
"""

import itertools
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
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.contracts.protocols import Tracker
from chronotope.runtime.engine import Engine, LocalEngine
from chronotope.tuning.config import StudyConfig
from chronotope.tuning.study_database import open_study_database
from chronotope.tuning.trial_batch import (
    Objective,
    SampledParams,
    TrackerFactory,
    TrialContext,
    evaluate_batch,
)
from chronotope.tuning.trial_choice import choose_trial, fold_values


class ParameterSuggester(Protocol):
    """Sampling interface of a search space; an Optuna trial satisfies it."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A real number in [low, high]."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number in [low, high]."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""


SearchSpace = Callable[[ParameterSuggester], dict[str, object]]
"""Samples one set of parameters."""

_FINISHED_STATES = (TrialState.COMPLETE, TrialState.PRUNED)

_FAILURE_CAUSE = "ended"
"""Attribute of failed trials: the cause. Trials whose process died have none."""

_FIXED_PARAMS = "fixed_params"
"""Optuna's attribute of queued trials, such as the default, that were not sampled."""


@dataclass(frozen=True, slots=True)
class BestTrial:
    """The completed trial whose parameters are used.

    Attributes:
        params: Parameters from the search space.
        value: Mean of the objective over the folds.
        trial_number: Number of finished trials before it.
        fold_values: The objective on each fold, earliest first.
    """

    params: dict[str, object]
    value: float
    trial_number: int
    fold_values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class StudyStorage:
    """Database address and name of a study.

    Attributes:
        url: SQLAlchemy address, e.g. ``sqlite:///mlruns/optuna.db``.
        study_name: Name of the study; the same name resumes.
    """

    url: str
    study_name: str


def run_study(
    search_space: SearchSpace,
    objective: Objective,
    *,
    n_folds: int,
    default: dict[str, Any],
    config: StudyConfig,
    storage: StudyStorage,
    tracker_factory: TrackerFactory,
    engine: Engine = LocalEngine(),  # noqa: B008 - holds nothing
) -> BestTrial:
    """Search parameters, or resume a killed study.

    The default is tried first, so the result is never worse than it on these folds, and another
    trial replaces it only if it is ahead by more than noise, see ``choose_trial``. One process
    at a time works on a study: a trial in state running at opening belongs to a killed process.

    Args:
        search_space: Samples parameters.
        objective: Evaluates parameters on one fold.
        n_folds: Folds 0 .. n_folds - 1, frozen for the life of the study.
        default: Values of the suggested names to try first.
        config: Budget, seed and pruning.
        storage: Database and name of the study.
        tracker_factory: Opens runs for the study, its trials and their folds.
        engine: Runs folds of trials; the result does not depend on it.

    Raises:
        ConfigError: There is no fold, or the study was made with other folds.
        StoreError: No trial was completed within the budget.
        EngineError: A fold was lost more often than the engine retries it.
    """
    if n_folds < 1:
        raise ConfigError("A search needs at least one fold", received=n_folds)
    context = TrialContext(
        objective, n_folds, _n_required_folds(config, n_folds), engine, tracker_factory
    )
    with open_study_database(storage.url) as study_database:
        study = _open_study(config, storage, study_database, n_folds)
        _fail_stale_trials(study)
        _enqueue_default(study, default)
        with tracker_factory(storage.study_name, None) as study_run:
            for n_trials in _batch_sizes(study, config):
                _seed_sampler(study, config)
                sampled_trials = _sample_trials(study, search_space, n_trials)
                _evaluate_trials(study, sampled_trials, context, study_run)
            best_trial = _best_trial(study, search_space, default, config)
            study_run.metrics({"best_value": best_trial.value, "n_trials": _n_finished(study)})
            study_run.params({f"best_{name}": value for name, value in best_trial.params.items()})
    return best_trial


def _n_required_folds(config: StudyConfig, n_folds: int) -> int:
    """Folds before the Wilcoxon test can stop a trial: its smallest p-value is 1 / 2^n."""
    sufficient_counts = (
        n for n in range(config.n_startup_folds, n_folds) if 0.5**n < config.prune_p
    )
    return next(sufficient_counts, n_folds)


def _open_study(
    config: StudyConfig, storage: StudyStorage, study_database: RDBStorage, n_folds: int
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=study_database,
        study_name=storage.study_name,
        direction="maximize",
        pruner=_make_pruner(config),
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


def _make_pruner(config: StudyConfig) -> WilcoxonPruner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return WilcoxonPruner(p_threshold=config.prune_p, n_startup_steps=config.n_startup_folds)


def _fail_stale_trials(study: optuna.Study) -> None:
    """Set trials that a killed process left running to failed."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _enqueue_default(study: optuna.Study, default: dict[str, Any]) -> None:
    """Queue the default unless it waits or has finished, however often its process died."""
    queued_trials = study.get_trials(deepcopy=False, states=(*_FINISHED_STATES, TrialState.WAITING))
    if not any(trial.system_attrs.get(_FIXED_PARAMS) == default for trial in queued_trials):
        study.enqueue_trial(default)


def _seed_sampler(study: optuna.Study, config: StudyConfig) -> None:
    """Seed the sampler so that a resumed study samples the same next trials.

    Sampled parameters that raised an error, or whose process died too often, are not
    sampled again.
    """
    failed_trials = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    sampled_trials = [trial for trial in failed_trials if _FIXED_PARAMS not in trial.system_attrs]
    death_counts = Counter(
        _params_key(trial.params)
        for trial in sampled_trials
        if _FAILURE_CAUSE not in trial.user_attrs
    )
    n_given_up = sum(trial.user_attrs.get(_FAILURE_CAUSE) == "error" for trial in sampled_trials)
    n_given_up += sum(n > config.max_retries for n in death_counts.values())
    study.sampler = TPESampler(
        seed=config.seed + _n_finished(study) + n_given_up, n_startup_trials=config.n_startup_trials
    )


def _params_key(params: dict[str, Any]) -> str:
    return json.dumps(params, sort_keys=True, default=str)


def _batch_sizes(study: optuna.Study, config: StudyConfig) -> Iterator[int]:
    """Sizes of the next batches, until trials or time are used up."""
    start_s = time.monotonic()
    while (n_remaining := config.n_trials - _n_finished(study)) > 0:
        if config.timeout_s is not None and time.monotonic() - start_s >= config.timeout_s:
            return
        yield min(config.batch, n_remaining)


def _sample_trials(
    study: optuna.Study, search_space: SearchSpace, n_trials: int
) -> list[SampledParams]:
    """Sample trials one after the other; the sampler sees those still running."""
    sampled_trials = []
    for _ in range(n_trials):
        trial = study.ask()
        sampled_trials.append((trial, search_space(trial)))
    return sampled_trials


def _evaluate_trials(
    study: optuna.Study,
    sampled_trials: list[SampledParams],
    context: TrialContext,
    study_run: Tracker,
) -> None:
    """Evaluate trials and report them in sampling order; an error fails the whole batch."""
    try:
        trial_results = evaluate_batch(sampled_trials, context, study_run)
    except (Exception, KeyboardInterrupt) as error:
        for trial, _ in sampled_trials:
            is_interrupt = isinstance(error, KeyboardInterrupt)
            trial.set_user_attr(_FAILURE_CAUSE, "interrupted" if is_interrupt else "error")
            study.tell(trial, state=TrialState.FAIL)
        raise
    for trial_result in trial_results:
        if trial_result.is_complete(context.n_folds):
            study.tell(trial_result.trial, fmean(trial_result.fold_values))
        else:
            study.tell(trial_result.trial, state=TrialState.PRUNED)


def _n_finished(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=_FINISHED_STATES))


def _best_trial(
    study: optuna.Study, search_space: SearchSpace, default: dict[str, Any], config: StudyConfig
) -> BestTrial:
    completed_trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not completed_trials:
        raise StoreError(
            "No trial of the study was completed",
            received=f"{study.study_name}: {len(study.get_trials(deepcopy=False))} trials",
            way_out="Give more time, or check that the objective is finite",
        )
    best_trial = choose_trial(completed_trials, _default_trial(study, default), config.min_gain_se)
    params = search_space(FixedTrial(best_trial.params, number=best_trial.number))
    finished_trials = study.get_trials(deepcopy=False, states=_FINISHED_STATES)
    n_before = sum(trial.number < best_trial.number for trial in finished_trials)
    return BestTrial(params, float(best_trial.value or 0.0), n_before, fold_values(best_trial))


def _default_trial(study: optuna.Study, default: dict[str, Any]) -> FrozenTrial | None:
    """The completed trial of the default; None if it failed, or the study had another one."""
    completed_trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    is_default = (trial.system_attrs.get(_FIXED_PARAMS) == default for trial in completed_trials)
    return next(itertools.compress(completed_trials, is_default), None)
