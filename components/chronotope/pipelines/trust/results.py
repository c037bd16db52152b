"""Results of the evaluation of trust, stored in the folder of a run."""

from pathlib import Path
from typing import Final

from pydantic import Field

from chronotope.pipelines.results import StepResult
from chronotope.runtime.durable_files import write_text

TRUST_FILE: Final = "trust.json"
"""File of a run with the evaluation of trust."""


class MembershipAttack(StepResult):
    """One membership attack; an AUC of .5 is chance."""

    name: str = Field(description="What the attacker compares")
    auc: float = Field(description="Probability that a member looks more like one than others do")
    low: float = Field(description="Lower end of the 95 % interval; resamples users")
    high: float = Field(description="Upper end of the interval")


class MembershipAudit(StepResult):
    """Membership attacks on one model."""

    attacks: tuple[MembershipAttack, ...] = Field(description="The attacks")
    n_members: int = Field(ge=0, description="Attacked users of the training")
    n_held_out: int = Field(ge=0, description="Attacked users that no training used")

    @property
    def strongest(self) -> MembershipAttack:
        """The attack with the highest AUC."""
        return max(self.attacks, key=lambda attack: attack.auc)


class TrustEvaluation(StepResult):
    """Evaluation of trust in one candidate."""

    membership: MembershipAudit | None = Field(
        None, description="Membership audit; None if no users were held out"
    )

    def metrics(self) -> dict[str, float]:
        """Metrics for the tracker, by name."""
        if self.membership is None:
            return {}
        return {
            f"membership_auc_{attack.name.replace(' ', '_')}": attack.auc
            for attack in self.membership.attacks
        }


def write_trust(evaluation: TrustEvaluation, run_dir: Path) -> None:
    """Store the evaluation in the folder of a run."""
    write_text(run_dir / TRUST_FILE, evaluation.model_dump_json(indent=2))


def read_trust(run_dir: Path) -> TrustEvaluation:
    """Evaluation of a run; an empty one of a run before there was any."""
    trust_path = run_dir / TRUST_FILE
    if not trust_path.exists():
        return TrustEvaluation()
    return TrustEvaluation.model_validate_json(trust_path.read_text(encoding="utf-8"))
