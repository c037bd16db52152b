"""Retraining policy: whether new events justify a retraining, and of which kind."""

import math
from dataclasses import dataclass
from typing import Literal

from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.population_shift import PopulationShift

RetrainAction = Literal["nothing", "wait", "hold", "retrain"]


@dataclass(frozen=True, slots=True)
class ChampionState:
    """Champion at the time of the decision.

    Attributes:
        version: Version of the champion; None if there is none.
        age_days: Days since the last training that used feedback, or since the promotion;
            infinite if both are dated in the future.
        has_holdout: Whether enough events are later than its training to evaluate a challenger.
        n_new_events: Events that a retraining would train on and the champion was not.
        can_warm_start: Whether its network file exists and fits the catalogue.
        cold_start_reason: Why it cannot be warm-started; "" if it can.
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
        action: ``nothing`` is new; ``wait`` for more; ``hold`` back what looks broken;
            ``retrain``.
        mode: ``warm`` or ``full`` if ``retrain``, else "".
        reasons: Reasons, one sentence each.
    """

    action: RetrainAction
    mode: str
    reasons: tuple[str, ...]


def decide_retraining(
    shift: PopulationShift, champion: ChampionState, config: FeedbackConfig
) -> RetrainDecision:
    """Decide by the number of new events, their shift and the age of the champion.

    Args:
        shift: Events that no retraining has used yet, compared with the others.
        champion: The champion.
        config: Bounds, and whether the retraining is forced.
    """
    if shift.n_new == 0:
        return RetrainDecision("nothing", "", ("no new events",))
    wait_reason = _wait_reason(shift, champion)
    if wait_reason:
        return RetrainDecision("wait", "", (wait_reason,))
    breaks = [_shift_text(name, psi) for name, psi in shift.psi.items() if psi > config.hold_psi]
    if breaks and not config.force:
        hint = "held back from training; force the retraining if the change is real"
        return RetrainDecision("hold", "", (*breaks, hint))
    triggers = tuple(_triggers(shift, champion, config))
    if not triggers:
        wait_reason = (
            f"only {shift.n_returning:,} new events of users with a history; "
            f"{config.min_rows:,} are required"
        )
        return RetrainDecision("wait", "", (wait_reason,))
    mode, mode_reason = _mode(champion, config)
    data_text = f"{champion.n_new_events:,} new training events; the latest segment is the holdout"
    return RetrainDecision("retrain", mode, (*triggers, *breaks, data_text, mode_reason))


def _wait_reason(shift: PopulationShift, champion: ChampionState) -> str:
    """Why a retraining is impossible, forced or not; "" if it is possible."""
    if champion.version is None:
        return "there is no champion to retrain: run train-model first"
    if shift.n_returning == 0:
        return "all new events are of new users, who have no history to train on"
    if not champion.has_holdout:
        return "too few events are later than the champion's training to evaluate a challenger"
    if champion.n_new_events == 0:
        return "no new training events: all but the holdout were in the champion's training"
    return ""


def _triggers(shift: PopulationShift, champion: ChampionState, config: FeedbackConfig) -> list[str]:
    """Reasons to retrain; empty if there is none."""
    triggers = ["forced by the user"] if config.force else []
    if shift.n_returning >= config.min_rows:
        triggers.append(f"{shift.n_returning:,} new events of users with a history")
    if math.isinf(champion.age_days):
        triggers.append("the last training is dated in the future: the clock was wrong then")
    elif champion.age_days > config.max_age_days:
        triggers.append(f"the last training is {champion.age_days:.1f} days old")
    triggers += [f"drift of {reason}" for reason in config.drift_reasons]
    return triggers + [
        _shift_text(name, psi)
        for name, psi in shift.psi.items()
        if config.drift_psi < psi <= config.hold_psi
    ]


def _shift_text(column: str, psi: float) -> str:
    return f"the distribution of {column} shifted (PSI {psi:.2f})"


def _mode(champion: ChampionState, config: FeedbackConfig) -> tuple[str, str]:
    if config.mode == "full":
        return "full", "full retraining, as configured"
    if champion.can_warm_start:
        return "warm", "warm start from the champion's network"
    reason = champion.cold_start_reason
    return "full", f"full retraining with the champion's parameters: {reason}"
