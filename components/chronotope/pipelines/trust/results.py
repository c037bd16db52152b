"""Results of the evaluation of trust, stored in the folder of a run."""

import re
from pathlib import Path
from typing import Final, Self

from pydantic import Field

from chronotope.metrics import Interval
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


class MeasuredValue(StepResult):
    """A value with its 95 % interval."""

    value: float = Field(description="Estimate")
    low: float = Field(description="Lower end of the interval; resamples users")
    high: float = Field(description="Upper end of the interval")

    @classmethod
    def of(cls, interval: Interval) -> Self:
        """Value of an interval."""
        return cls(value=interval.estimate, low=interval.low, high=interval.high)


class GroupAccuracy(StepResult):
    """Accuracy for one group of users."""

    attribute: str = Field(description="Attribute of the users, or activity")
    level: str = Field(description="Its level")
    n_users: int = Field(ge=0, description="Users among the targets")
    n_targets: int = Field(ge=0, description="Their targets")
    ndcg_10: MeasuredValue = Field(description="NDCG@10")
    overconfidence: MeasuredValue = Field(
        description="Mean probability of the first item minus the share of hits of the first item"
    )


class ExposureEvaluation(StepResult):
    """Exposure of the items in lists of ten; a position r counts 1 / log2(1 + r)."""

    tail_share: MeasuredValue = Field(description="Exposure of all items but the top fifth")
    tail_demand: MeasuredValue = Field(description="Share of targets that are such items")
    gap: MeasuredValue = Field(description="Demand minus exposure of the tail")
    gini: float = Field(description="Gini coefficient of the exposure")
    coverage: float = Field(description="Share of the items in some list")
    popularity_lift: float = Field(description="Mean events of listed items over targets', minus 1")
    group_shares: tuple[float, ...] = Field(description="Exposure by tenth, most popular first")
    group_demand: tuple[float, ...] = Field(description="Targets by the same tenths")


class FairnessEvaluation(StepResult):
    """Accuracy by group of users, and exposure of items."""

    groups: tuple[GroupAccuracy, ...] = Field(description="Groups with enough users")
    min_group_users: int = Field(ge=1, description="Smaller groups are not shown")
    exposure: ExposureEvaluation = Field(description="Exposure of the items")

    def accuracy_gaps(self) -> dict[str, float]:
        """Largest difference of NDCG@10 between the groups of each attribute."""
        values: dict[str, list[float]] = {}
        for group in self.groups:
            values.setdefault(group.attribute, []).append(group.ndcg_10.value)
        return {
            name: max(group_values) - min(group_values) for name, group_values in values.items()
        }


class TrustEvaluation(StepResult):
    """Evaluation of trust in one candidate."""

    membership: MembershipAudit | None = Field(
        None, description="Membership audit; None if no users were held out"
    )
    fairness: FairnessEvaluation | None = Field(None, description="Groups of users, and exposure")

    def metrics(self) -> dict[str, float]:
        """Metrics for the tracker, by name."""
        attacks = () if self.membership is None else self.membership.attacks
        values = {
            f"membership_auc_{attack.name.replace(' ', '_')}": attack.auc for attack in attacks
        }
        if self.fairness is None:
            return values
        item_exposure = self.fairness.exposure
        gaps = self.fairness.accuracy_gaps()
        return values | {
            "exposure_gap": item_exposure.gap.value,
            "exposure_gini": item_exposure.gini,
            "exposure_coverage": item_exposure.coverage,
            "popularity_lift": item_exposure.popularity_lift,
            **{f"ndcg_10_gap_{tag_name(name)}": gap for name, gap in gaps.items()},
        }


def tag_name(text: str) -> str:
    """Text as a part of a metric's name: letters, digits and underscores."""
    return re.sub(r"\W", "_", text)


def write_trust(evaluation: TrustEvaluation, run_dir: Path) -> None:
    """Store the evaluation in the folder of a run."""
    write_text(run_dir / TRUST_FILE, evaluation.model_dump_json(indent=2))


def read_trust(run_dir: Path) -> TrustEvaluation:
    """Evaluation of a run; an empty one of a run before there was any."""
    trust_path = run_dir / TRUST_FILE
    if not trust_path.exists():
        return TrustEvaluation()
    return TrustEvaluation.model_validate_json(trust_path.read_text(encoding="utf-8"))
