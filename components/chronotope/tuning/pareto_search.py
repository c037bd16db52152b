"""Searches for the Pareto front of several costs; asks Optuna what to try next.

Trials are told in a fixed order by a seeded sampler, so a caller who remembers what was
judged (as a workshop does) needs no database: a search that was killed is begun again,
walks through what is known in no time, and goes on.
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

N_RANDOM: Final = 5
"""Proposals by chance before the sampler has its say."""

GREEDY: Final = 3
"""Proposals that repeat what was tried, after which one is drawn by chance."""

KNOWN: Final = 1e6
"""Excess of what was tried already."""

PATIENCE: Final = 200
"""Proposals that repeat what was tried, after which little can be left."""


@dataclass(frozen=True, slots=True)
class ConstraintCheck:
    """What a judge says of one set of parameters.

    Attributes:
        costs: What is to be low, one number an objective; None if it was not worth finding out.
        excess: By how much each bound is broken; zero or less where it holds.
    """

    costs: tuple[float, ...] | None
    excess: Mapping[str, float]


ParamsEvaluator = Callable[[dict[str, object]], ConstraintCheck]
"""Judges what the space drew."""


@dataclass(frozen=True, slots=True)
class SearchBudget:
    """How long to search.

    Attributes:
        n_trials: Different sets of parameters in all; the first ones are always tried.
        timeout_s: Begin no other one after so many seconds; None sets no end.
        seed: Of the sampler.
    """

    n_trials: int
    timeout_s: float | None = None
    seed: int = 0


def search_front(
    space: SearchSpace,
    judge: ParamsEvaluator,
    *,
    first: Sequence[Mapping[str, Any]],
    n_objectives: int,
    budget: SearchBudget,
) -> list[tuple[dict[str, object], ConstraintCheck]]:
    """Try sets of parameters, each once, towards low costs within the bounds.

    Args:
        space: Draws parameters; equal ones are one trial, whatever was suggested.
        judge: Finds the costs.
        first: Values of the suggested names to try before any others.
        n_objectives: Number of costs.
        budget: When to stop.

    Returns:
        What was drawn and what was said of it, in order.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        directions=["minimize"] * n_objectives,
        sampler=TPESampler(seed=budget.seed, n_startup_trials=len(first) + N_RANDOM),
    )
    for params in first:
        study.enqueue_trial(dict(params))
    tried: dict[str, tuple[dict[str, object], ConstraintCheck]] = {}
    propose = _proposals(study, space, tried, budget.seed)
    began = time.monotonic()
    for number in count():
        late = budget.timeout_s is not None and time.monotonic() - began > budget.timeout_s
        if number >= len(first) and (late or len(tried) >= budget.n_trials):
            break
        proposed = propose(patience=1 if number < len(first) else PATIENCE)
        if proposed is not None:
            trial, key, params = proposed
            tried[key] = params, judge(params)
            _tell(study, trial, tried[key][1])
        elif number >= len(first):
            break
    return list(tried.values())


def _proposals(
    study: optuna.Study, space: SearchSpace, tried: Container[str], seed: int
) -> Callable[..., tuple[optuna.Trial, str, dict[str, object]] | None]:
    """Proposes what was not tried: the sampler's word, or by chance where that is known."""
    sampler, by_chance = study.sampler, RandomSampler(seed=seed)

    def propose(patience: int) -> tuple[optuna.Trial, str, dict[str, object]] | None:
        for attempt in range(patience):
            study.sampler = by_chance if attempt >= GREEDY else sampler
            trial = study.ask()
            params = space(trial)
            key = json.dumps(params, sort_keys=True)
            if key not in tried:
                return trial, key, params
            trial.set_constraint("known", KNOWN)  # so that the sampler looks beside it
            study.tell(trial, state=TrialState.PRUNED)
        return None

    return propose


def _tell(study: optuna.Study, trial: optuna.Trial, verdict: ConstraintCheck) -> None:
    for bound, excess in verdict.excess.items():
        trial.set_constraint(bound, excess)
    if verdict.costs is None:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, verdict.costs)
