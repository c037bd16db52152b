"""Is what is new worth a training, and of which kind? Told with the reasons."""

import math
from dataclasses import dataclass
from typing import Literal

from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.population_shift import PopulationShift

RetrainAction = Literal["nothing", "wait", "hold", "retrain"]


@dataclass(frozen=True, slots=True)
class ChampionState:
    """What reigns at present.

    Attributes:
        champion: Version of the champion; None if there is none.
        age_days: Days since the last training that saw feedback, or since the promotion;
            infinite if both are dated in the future.
        can_judge: Whether enough happened since its training to judge a challenger on.
        n_teaching: Events that a retraining would train on and the champion was not.
        can_warm: Whether its network can learn on: its file is there and fits the catalogue.
        why_full: Why it cannot; "" if it can.
    """

    champion: str | None
    age_days: float
    can_judge: bool
    n_teaching: int
    can_warm: bool
    why_full: str


@dataclass(frozen=True, slots=True)
class RetrainDecision:
    """What to do with the new events.

    Attributes:
        action: ``nothing`` is new; ``wait`` for more; ``hold`` back what looks broken;
            ``retrain``.
        mode: ``warm`` or ``full`` if ``retrain``, else "".
        reasons: Why, one sentence each.
    """

    action: RetrainAction
    mode: str
    reasons: tuple[str, ...]


def decide_retraining(
    shift: PopulationShift, standing: ChampionState, config: FeedbackConfig
) -> RetrainDecision:
    """Decide by what is new, how it differs and how old the champion is.

    Args:
        shift: The events that no retraining has weighed yet, beside the others.
        standing: The champion.
        config: Bounds, and whether somebody insists.
    """
    if shift.n_new == 0:
        return RetrainDecision("nothing", "", ("nothing new",))
    if standing.champion is None:
        why = "there is no champion to retrain: run train-model first"
        return RetrainDecision("wait", "", (why,))
    if shift.n_with_past == 0:
        return RetrainDecision("wait", "", ("only new users, who have no past to learn from",))
    if not standing.can_judge:
        why = "hardly anything is later than the champion's training, to judge a challenger on"
        return RetrainDecision("wait", "", (why,))
    if standing.n_teaching == 0:
        why = "all but the newest part, which judges, was in the champion's training"
        return RetrainDecision("wait", "", (why,))
    broken = [_moved(name, psi) for name, psi in shift.psi.items() if psi > config.break_psi]
    if broken and not config.force:
        return RetrainDecision(
            "hold", "", (*broken, "held back from training; force it if it is real")
        )
    reasons = tuple(_reasons(shift, standing, config))
    if not reasons:
        why = f"only {shift.n_with_past:,} new events of users with a past, {config.min_rows:,}"
        return RetrainDecision("wait", "", (f"{why} are wanted",))
    mode, why = _mode(standing, config)
    teaching = f"{standing.n_teaching:,} events teach that the champion was not trained on"
    return RetrainDecision(
        "retrain", mode, (*reasons, *broken, f"{teaching}; the newest part judges", why)
    )


def _reasons(shift: PopulationShift, standing: ChampionState, config: FeedbackConfig) -> list[str]:
    found = ["forced by hand"] if config.force else []
    if shift.n_with_past >= config.min_rows:
        found.append(f"{shift.n_with_past:,} new events of users with a past")
    if math.isinf(standing.age_days):
        found.append("the last training is dated in the future: the clock was ahead then")
    elif standing.age_days > config.max_age_days:
        found.append(f"the last training is {standing.age_days:.1f} days old")
    found += [f"drift of {why}" for why in config.drifted]
    drifted = {name: psi for name, psi in shift.psi.items() if psi > config.drift_psi}
    return found + [_moved(name, psi) for name, psi in drifted.items() if psi <= config.break_psi]


def _moved(name: str, psi: float) -> str:
    return f"the distribution of {name} moved (PSI {psi:.2f})"


def _mode(standing: ChampionState, config: FeedbackConfig) -> tuple[str, str]:
    if config.mode == "full":
        return "full", "full retraining, as told"
    if standing.can_warm:
        return "warm", "warm: the champion's network learns on"
    return "full", f"full retraining with the champion's parameters: {standing.why_full}"
