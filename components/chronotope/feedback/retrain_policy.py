"""Retraining policy: whether new events trigger a retraining, warm or full."""

import math
from dataclasses import dataclass
from typing import Literal

from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.population_shift import PopulationShift

RetrainAction = Literal["nothing", "wait", "hold", "retrain"]


@dataclass(frozen=True, slots=True)
class ChampionState:
    """State of the champion at the time of the decision.

    Attributes:
        version: Version of the champion; None if there is none.
        age_days: Days since the promotion or the last retraining on feedback, whichever is
            later; infinite if both are dated in the future.
        has_holdout: Whether enough events are later than its training to evaluate a challenger.
        n_new_events: Number of events that a retraining would train on and the champion was not
            trained on.
        can_warm_start: Whether its network file exists and fits the catalogue.
        cold_start_reason: Why a warm start is impossible; "" if it is possible.
    """

    version: str | None
    age_days: float
    has_holdout: bool
    n_new_events: int
    can_warm_start: bool
    cold_start_reason: str


@dataclass(frozen=True, slots=True)
class RetrainDecision:
    """Action for the new events.

    Attributes:
        action: ``nothing``: there are no new events; ``wait``: there are too few; ``hold``: their
            distribution is implausible, so they are held back; ``retrain``.
        mode: ``warm`` or ``full`` if the action is ``retrain``, else "".
        reasons: Reasons, one sentence each.
    """

    action: RetrainAction
    mode: str
    reasons: tuple[str, ...]


def decide_retraining(
    population_shift: PopulationShift,
    champion_state: ChampionState,
    feedback_config: FeedbackConfig,
) -> RetrainDecision:
    """Decide from the number and distribution of new events and the age of the champion.

    Args:
        population_shift: Events that no training has used yet, compared with earlier ones.
        champion_state: State of the champion.
        feedback_config: Thresholds, and whether a retraining is forced.
    """
    if population_shift.n_new == 0:
        return RetrainDecision("nothing", "", ("no new events",))
    wait_reason = _wait_reason(population_shift, champion_state)
    if wait_reason:
        return RetrainDecision("wait", "", (wait_reason,))
    hold_reasons = [
        _shift_text(column_name, psi_value)
        for column_name, psi_value in population_shift.psi.items()
        if psi_value > feedback_config.hold_psi
    ]
    if hold_reasons and not feedback_config.force:
        hold_hint = "held back from training; force the retraining if the change is real"
        return RetrainDecision("hold", "", (*hold_reasons, hold_hint))
    trigger_reasons = tuple(_triggers(population_shift, champion_state, feedback_config))
    if not trigger_reasons:
        wait_reason = (
            f"only {population_shift.n_returning:,} new events of users with a history; "
            f"{feedback_config.min_rows:,} are required"
        )
        return RetrainDecision("wait", "", (wait_reason,))
    mode, mode_reason = _mode(champion_state, feedback_config)
    data_text = (
        f"{champion_state.n_new_events:,} new training events; the latest segment is the holdout"
    )
    return RetrainDecision(
        "retrain", mode, (*trigger_reasons, *hold_reasons, data_text, mode_reason)
    )


def _wait_reason(population_shift: PopulationShift, champion_state: ChampionState) -> str:
    """Why a retraining is impossible, forced or not; "" if it is possible."""
    if champion_state.version is None:
        return "there is no champion to retrain: run train-model first"
    if population_shift.n_returning == 0:
        return "all new events are of new users, who have no history to train on"
    if not champion_state.has_holdout:
        return "too few events are later than the champion's training to evaluate a challenger"
    if champion_state.n_new_events == 0:
        return "no new training events: all but the holdout were in the champion's training"
    return ""


def _triggers(
    population_shift: PopulationShift,
    champion_state: ChampionState,
    feedback_config: FeedbackConfig,
) -> list[str]:
    """Triggers of a retraining; empty if there is none."""
    trigger_reasons = ["forced by the user"] if feedback_config.force else []
    if population_shift.n_returning >= feedback_config.min_rows:
        trigger_reasons.append(
            f"{population_shift.n_returning:,} new events of users with a history"
        )
    if math.isinf(champion_state.age_days):
        trigger_reasons.append("the last training is dated in the future: the clock was wrong then")
    elif champion_state.age_days > feedback_config.max_age_days:
        trigger_reasons.append(f"the last training is {champion_state.age_days:.1f} days old")
    trigger_reasons += [f"drift of {reason}" for reason in feedback_config.drift_reasons]
    return trigger_reasons + [
        _shift_text(column_name, psi_value)
        for column_name, psi_value in population_shift.psi.items()
        if feedback_config.drift_psi < psi_value <= feedback_config.hold_psi
    ]


def _shift_text(column_name: str, psi_value: float) -> str:
    return f"the distribution of {column_name} shifted (PSI {psi_value:.2f})"


def _mode(champion_state: ChampionState, feedback_config: FeedbackConfig) -> tuple[str, str]:
    if feedback_config.mode == "full":
        return "full", "full retraining, as configured"
    if champion_state.can_warm_start:
        return "warm", "warm start from the champion's network"
    mode_reason = champion_state.cold_start_reason
    return "full", f"full retraining with the champion's parameters: {mode_reason}"
