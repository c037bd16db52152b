"""What an experiment and the lists that were drawn at random say, all of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from chronotope.experiments.arm_results import ArmResult, ShadowResult, arm_results, shadow_result
from chronotope.experiments.experiment import Experiment
from chronotope.experiments.exposures import Exposure, Hits, attribute_hits, read_exposures
from chronotope.lake.interaction_log import InteractionLog
from chronotope.metrics.off_policy import LoggedImpressions, OffPolicyEstimates, estimate_off_policy
from chronotope.metrics.reward_model import expected_rewards, reward_features


class TargetPolicy(Protocol):
    """A version that may be asked what it would have shown."""

    @property
    def version(self) -> str:
        """Its number."""

    @property
    def trained_until_s(self) -> int:
        """UTC seconds of the last event it knows; what came before it may have learned."""

    def listed(self, user_id: str, at: str, question: dict[str, Any]) -> list[tuple[str, float]]:
        """Items and their probabilities, as it would have answered; none if it cannot."""


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """What a version's best lists would have been worth.

    Attributes:
        version: The version.
        n_known: Lists left out because the version was trained on what came of them.
        estimate: None with too few users.
        verdict: In words.
    """

    version: str
    n_known: int
    estimate: OffPolicyEstimates | None
    verdict: str


@dataclass(frozen=True, slots=True)
class OutcomeLimits:
    """How outcomes are counted and judged.

    Attributes:
        window_s: How long after a list an event may come of it, seconds.
        min_users: With fewer there is no verdict.
        clip: Largest weight of an off-policy estimate; None clips none.
    """

    window_s: float = 86_400.0
    min_users: int = 100
    clip: float | None = None


@dataclass(frozen=True, slots=True)
class ExperimentReport:
    """All that was found.

    Attributes:
        experiment: Its name; None if there is none.
        limits: How it was counted.
        arms: Live arms, the control first.
        mismatch: P-value of the users' having come by the shares.
        n_misplaced: Lists left out: their arm is not the one the design gives the user.
        shadows: What shadows would have shown.
        policies: Off-policy estimates.
    """

    experiment: str | None
    limits: OutcomeLimits
    arms: tuple[ArmResult, ...]
    mismatch: float
    n_misplaced: int
    shadows: tuple[ShadowResult, ...]
    policies: tuple[PolicyResult, ...]


def report_experiment(
    log: InteractionLog,
    experiment: Experiment | None,
    targets: Sequence[Callable[[], TargetPolicy]],
    limits: OutcomeLimits,
) -> ExperimentReport:
    """Read the log and judge.

    Args:
        log: The interaction log.
        experiment: Its design; None judges policies alone, by all lists that were drawn.
        targets: Versions to estimate, opened only if any list was drawn.
        limits: How it is counted.
    """
    name = None if experiment is None else experiment.name
    every = read_exposures(log, name)
    shown = [one for one in every if one.shadow_of is None]
    hits = attribute_hits(shown, log, window_s=limits.window_s)
    arms: tuple[ArmResult, ...] = ()
    mismatch, misplaced = 1.0, 0
    shadows: tuple[ShadowResult, ...] = ()
    if experiment is not None:
        arms, mismatch, misplaced = arm_results(experiment, shown, hits, min_users=limits.min_users)
        shadows = _shadows(experiment, every, log, limits)
    drawn = [row for row, one in enumerate(shown) if one.explores]
    lists, their_hits = [shown[row] for row in drawn], [hits[row] for row in drawn]
    opened = (target() for target in (targets if drawn else ()))
    policies = tuple(evaluate_policy(target, lists, their_hits, limits) for target in opened)
    return ExperimentReport(
        experiment=name,
        limits=limits,
        arms=arms,
        mismatch=mismatch,
        n_misplaced=misplaced,
        shadows=shadows,
        policies=policies,
    )


def evaluate_policy(
    target: TargetPolicy, exposures: Sequence[Exposure], hits: Hits, limits: OutcomeLimits
) -> PolicyResult:
    """Estimate what a version's best lists would have been worth.

    Args:
        target: The version.
        exposures: Lists that were drawn at random.
        hits: Which of their positions were hit.
        limits: How it is counted.
    """
    later = [row for row, one in enumerate(exposures) if one.at_s > target.trained_until_s]
    n_known = len(exposures) - len(later)
    if len({exposures[row].user_id for row in later}) < max(2, limits.min_users):
        return PolicyResult(target.version, n_known, None, "not enough")
    shown = _shown([exposures[row] for row in later], [hits[row] for row in later], target)
    found = estimate_off_policy(shown, clip=limits.clip)
    return PolicyResult(target.version, n_known, found, _verdict(found))


def _verdict(found: OffPolicyEstimates) -> str:
    if found.mean_weight < 0.8:
        return "it would show much that was never drawn: too low"
    if found.gain.low > 0:
        return "better than what was shown"
    if found.gain.high < 0:
        return "worse than what was shown"
    return "no difference seen"


def _shown(exposures: Sequence[Exposure], hits: Hits, target: TargetPolicy) -> LoggedImpressions:
    """Every position that was shown, beside what the target would show there."""
    lengths = np.array([len(one.items) for one in exposures])
    position = np.concatenate([np.arange(n) for n in lengths])
    row = np.repeat(np.arange(len(exposures)), lengths)
    probability, propensity, same, theirs = (np.zeros(len(row)) for _ in range(4))
    start = 0
    for one in exposures:
        rows = slice(start, start := start + len(one.items))
        would = target.listed(one.user_id, one.at, one.question)[: len(one.items)]
        probability[rows], propensity[rows] = one.probabilities, one.propensities
        for n, (item, p) in enumerate(would):
            same[rows.start + n] = item == one.items[n]
            theirs[rows.start + n] = p
    _, user = np.unique([one.user_id for one in exposures], return_inverse=True)
    reward = np.concatenate(hits).astype(np.float64)
    told, asked = reward_features(probability, position), reward_features(theirs, position)
    q, q_target = expected_rewards(told, reward, user[row], asked)
    q_target[theirs == 0] = 0.0  # it would show nothing there
    return LoggedImpressions(row, user, reward, propensity, same, q, q_target)


def _shadows(
    experiment: Experiment, every: Sequence[Exposure], log: InteractionLog, limits: OutcomeLimits
) -> tuple[ShadowResult, ...]:
    by_id = {one.answer_id: one for one in every}
    results = []
    for arm in experiment.shadows:
        mine = [one for one in every if one.arm == arm.name and one.shadow_of in by_id]
        pairs = [(one, by_id[one.shadow_of]) for one in mine if one.shadow_of is not None]
        unseen, seen = (
            attribute_hits(
                [pair[n] for pair in pairs], log, window_s=limits.window_s, by_answer=False
            )
            for n in (0, 1)
        )
        results.append(shadow_result(arm, pairs, unseen, seen, min_users=limits.min_users))
    return tuple(results)
