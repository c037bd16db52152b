"""Multi-objective search for the Pareto front, with Optuna's TPE sampler.

Results are reported to a seeded sampler in a fixed order, so a caller that stores its
evaluations (as ``CandidateStore`` does) needs no study database: a killed search starts again,
repeats its stored trials at no cost, and continues.
"""

import json
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import optuna
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import TrialState

from chronotope.tuning.study import SearchSpace

N_RANDOM_TRIALS: Final = 5
"""Random proposals before the TPE sampler takes over."""

MAX_TPE_REPEATS: Final = 3
"""Repeated proposals of the TPE sampler after which one is drawn at random."""

REPEAT_EXCESS: Final = 1e6
"""Constraint excess of a repeated proposal."""

MAX_REPEATS: Final = 200
"""Repeated proposals after which the space counts as exhausted."""


@dataclass(frozen=True, slots=True)
class ConstraintCheck:
    """Costs of one set of parameters, and whether it meets the bounds.

    Attributes:
        costs: One number an objective, to be minimised; None if they were not computed.
        excess: By how much each bound is exceeded; zero or less where it is met.
    """

    costs: tuple[float, ...] | None
    excess: Mapping[str, float]


ParamsEvaluator = Callable[[dict[str, object]], ConstraintCheck]
"""Evaluates sampled parameters."""

_Proposal = tuple[optuna.Trial, str, dict[str, object]]


@dataclass(frozen=True, slots=True)
class SearchBudget:
    """Limits of a search.

    Attributes:
        n_trials: Number of distinct sets of parameters; the first ones are always tried.
        timeout_s: Start no other one after this time, in seconds; None sets no limit.
        seed: Seed of the sampler.
    """

    n_trials: int
    timeout_s: float | None = None
    seed: int = 0


def search_front(
    search_space: SearchSpace,
    evaluate_params: ParamsEvaluator,
    *,
    first: Sequence[Mapping[str, Any]],
    n_objectives: int,
    budget: SearchBudget,
) -> list[tuple[dict[str, object], ConstraintCheck]]:
    """Search distinct sets of parameters for low costs within the bounds.

    Args:
        search_space: Samples parameters; equal ones are one trial, whatever was suggested.
        evaluate_params: Computes the costs.
        first: Values of the suggested names to try before any others.
        n_objectives: Number of costs.
        budget: Limits of the search.

    Returns:
        Sampled parameters and their evaluations, in order.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    n_startup_trials = len(first) + N_RANDOM_TRIALS
    study = optuna.create_study(
        directions=["minimize"] * n_objectives,
        sampler=TPESampler(seed=budget.seed, n_startup_trials=n_startup_trials),
    )
    for suggestions in first:
        study.enqueue_trial(dict(suggestions))
    evaluations: dict[str, tuple[dict[str, object], ConstraintCheck]] = {}
    propose = _make_proposer(study, search_space, evaluations, budget.seed)
    start_s = time.monotonic()
    for trial_number in count():
        is_first = trial_number < len(first)
        is_late = budget.timeout_s is not None and time.monotonic() - start_s > budget.timeout_s
        if not is_first and (is_late or len(evaluations) >= budget.n_trials):
            break
        proposal = propose(1 if is_first else MAX_REPEATS)
        if proposal is not None:
            trial, params_key, params = proposal
            evaluations[params_key] = params, evaluate_params(params)
            _report_trial(study, trial, evaluations[params_key][1])
        elif not is_first:
            break
    return list(evaluations.values())


def _make_proposer(
    study: optuna.Study, search_space: SearchSpace, evaluated_keys: Container[str], seed: int
) -> Callable[[int], _Proposal | None]:
    """Proposer of new parameters: by the sampler, and at random where it repeats itself."""
    tpe_sampler, random_sampler = study.sampler, RandomSampler(seed=seed)

    def propose(max_attempts: int) -> _Proposal | None:
        for attempt in range(max_attempts):
            study.sampler = random_sampler if attempt >= MAX_TPE_REPEATS else tpe_sampler
            trial = study.ask()
            params = search_space(trial)
            params_key = json.dumps(params, sort_keys=True)
            if params_key not in evaluated_keys:
                return trial, params_key, params
            trial.set_constraint("known", REPEAT_EXCESS)  # steers the sampler to neighbours
            study.tell(trial, state=TrialState.PRUNED)
        return None

    return propose


def _report_trial(study: optuna.Study, trial: optuna.Trial, check: ConstraintCheck) -> None:
    for bound_name, excess in check.excess.items():
        trial.set_constraint(bound_name, excess)
    if check.costs is None:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, check.costs)
