"""Report of an experiment: results of its arms and off-policy estimates of model versions."""

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
    """Model version to be estimated off-policy, from the lists that it would recommend."""

    @property
    def version(self) -> str:
        """Version in the model registry."""

    @property
    def trained_until_s(self) -> int:
        """Time of the last training event, UTC seconds."""

    def listed(self, user_id: str, at: str, question: dict[str, Any]) -> list[tuple[str, float]]:
        """List that the version recommends for a logged request.

        Args:
            user_id: User of the request.
            at: Time of the request, as logged.
            question: Other fields of the request.

        Returns:
            Item ids with their probabilities, best first; empty on failure.
        """


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """Off-policy value of a model version.

    Attributes:
        version: Version in the model registry.
        n_known: Number of lists left out because the version was trained on their outcomes.
        estimate: Off-policy estimates; None with too few users.
        verdict: Conclusion as text, such as ``no significant difference``.
    """

    version: str
    n_known: int
    estimate: OffPolicyEstimates | None
    verdict: str


@dataclass(frozen=True, slots=True)
class OutcomeLimits:
    """Limits of attribution and of verdicts.

    Attributes:
        window_s: Attribution window after a list, seconds.
        min_users: Minimum number of users for a verdict.
        clip: Maximum importance weight of an off-policy estimate; None disables clipping.
    """

    window_s: float = 86_400.0
    min_users: int = 100
    clip: float | None = None


@dataclass(frozen=True, slots=True)
class ExperimentReport:
    """Results of an experiment.

    Attributes:
        experiment: Name of the experiment; None without one.
        limits: Limits of attribution and verdicts.
        arms: Results of the live arms, the control first.
        mismatch: P-value of the sample ratio mismatch test.
        n_misplaced: Number of lists left out because their arm is not the one that the design
            assigns to the user.
        shadows: Results of the shadow arms.
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
    """Compute the report of an experiment from the interaction log.

    Args:
        log: Interaction log with impressions and events.
        experiment: Design of the experiment; None computes only off-policy estimates, from all
            randomised lists.
        targets: Functions that open the versions to estimate; called only if there are
            randomised lists.
        limits: Limits of attribution and verdicts.
    """
    name = None if experiment is None else experiment.name
    all_exposures = read_exposures(log, name)
    shown = [item_exposure for item_exposure in all_exposures if item_exposure.shadow_of is None]
    hits = attribute_hits(shown, log, window_s=limits.window_s)
    arms: tuple[ArmResult, ...] = ()
    mismatch_p, n_misplaced = 1.0, 0
    shadows: tuple[ShadowResult, ...] = ()
    if experiment is not None:
        arms, mismatch_p, n_misplaced = arm_results(
            experiment, shown, hits, min_users=limits.min_users
        )
        shadows = _shadow_results(experiment, all_exposures, log, limits)
    random_rows = [row for row, item_exposure in enumerate(shown) if item_exposure.explores]
    random_lists = [shown[row] for row in random_rows]
    random_hits = [hits[row] for row in random_rows]
    policies = tuple(
        evaluate_policy(open_target(), random_lists, random_hits, limits)
        for open_target in (targets if random_rows else ())
    )
    return ExperimentReport(
        experiment=name,
        limits=limits,
        arms=arms,
        mismatch=mismatch_p,
        n_misplaced=n_misplaced,
        shadows=shadows,
        policies=policies,
    )


def evaluate_policy(
    target: TargetPolicy, exposures: Sequence[Exposure], hits: Hits, limits: OutcomeLimits
) -> PolicyResult:
    """Estimate the value of a version's lists off-policy, from randomised lists.

    Args:
        target: Version to estimate.
        exposures: Randomised lists.
        hits: Hit mask of the positions of each list.
        limits: Limits of attribution and verdicts.
    """
    later_rows = [
        row
        for row, item_exposure in enumerate(exposures)
        if item_exposure.at_s > target.trained_until_s
    ]
    n_known = len(exposures) - len(later_rows)
    if len({exposures[row].user_id for row in later_rows}) < max(2, limits.min_users):
        return PolicyResult(target.version, n_known, None, "not enough users")
    impressions = _logged_impressions(
        [exposures[row] for row in later_rows], [hits[row] for row in later_rows], target
    )
    estimate = estimate_off_policy(impressions, clip=limits.clip)
    return PolicyResult(target.version, n_known, estimate, _policy_verdict(estimate))


def _policy_verdict(estimate: OffPolicyEstimates) -> str:
    if estimate.mean_weight < 0.8:
        return "too low: many of its items were never drawn"
    if estimate.gain.low > 0:
        return "better than what was shown"
    if estimate.gain.high < 0:
        return "worse than what was shown"
    return "no significant difference"


def _logged_impressions(
    exposures: Sequence[Exposure], hits: Hits, target: TargetPolicy
) -> LoggedImpressions:
    """Logged positions, joined with the items of the target policy at the same positions."""
    list_lengths = np.array([len(item_exposure.items) for item_exposure in exposures])
    position = np.concatenate([np.arange(length) for length in list_lengths])
    list_idx = np.repeat(np.arange(len(exposures)), list_lengths)
    probability, propensity, is_same_item, target_probability = (
        np.zeros(len(list_idx)) for _ in range(4)
    )
    next_row = 0
    for item_exposure in exposures:
        n_shown = len(item_exposure.items)
        rows = slice(next_row, next_row := next_row + n_shown)
        target_list = target.listed(
            item_exposure.user_id, item_exposure.at, item_exposure.question
        )[:n_shown]
        probability[rows], propensity[rows] = (
            item_exposure.probabilities,
            item_exposure.propensities,
        )
        for slot, (item_id, item_probability) in enumerate(target_list):
            is_same_item[rows.start + slot] = item_id == item_exposure.items[slot]
            target_probability[rows.start + slot] = item_probability
    _, user_idx = np.unique(
        [item_exposure.user_id for item_exposure in exposures], return_inverse=True
    )
    reward = np.concatenate(hits).astype(np.float64)
    logged_q, target_q = expected_rewards(
        reward_features(probability, position),
        reward,
        user_idx[list_idx],
        reward_features(target_probability, position),
    )
    target_q[target_probability == 0] = 0.0  # the target policy shows no item there
    return LoggedImpressions(
        list_idx=list_idx,
        user=user_idx,
        reward=reward,
        propensity=propensity,
        target=is_same_item,
        q=logged_q,
        q_target=target_q,
    )


def _shadow_results(
    experiment: Experiment,
    all_exposures: Sequence[Exposure],
    log: InteractionLog,
    limits: OutcomeLimits,
) -> tuple[ShadowResult, ...]:
    by_answer_id = {item_exposure.answer_id: item_exposure for item_exposure in all_exposures}
    results = []
    for arm in experiment.shadows:
        pairs = [
            (item_exposure, by_answer_id[item_exposure.shadow_of])
            for item_exposure in all_exposures
            if item_exposure.arm == arm.name
            and item_exposure.shadow_of is not None
            and item_exposure.shadow_of in by_answer_id
        ]
        shadow_hits, shown_hits = (
            attribute_hits(lists, log, window_s=limits.window_s, by_answer=False)
            for lists in ([shadow for shadow, _ in pairs], [shown for _, shown in pairs])
        )
        results.append(
            shadow_result(arm, pairs, shadow_hits, shown_hits, min_users=limits.min_users)
        )
    return tuple(results)
