"""Rows of the report on trust, from the evaluation of a run."""

from collections.abc import Iterator

from chronotope.pipelines.trust.results import (
    ExposureEvaluation,
    FairnessEvaluation,
    MeasuredValue,
    MembershipAudit,
)
from chronotope.report.report_data import AttackRow, Estimate, ExposureRow, GroupRow


def attack_rows(audit: MembershipAudit | None) -> tuple[AttackRow, ...]:
    """Rows of the membership attacks; none without an audit."""
    if audit is None:
        return ()
    return tuple(
        AttackRow(
            name=attack.name,
            auc=Estimate(value=attack.auc, low=attack.low, high=attack.high),
            n_users=audit.n_held_out,
        )
        for attack in audit.attacks
    )


def group_rows(fairness: FairnessEvaluation | None) -> tuple[GroupRow, ...]:
    """Rows of the groups of users; none of a run before there were any."""
    if fairness is None:
        return ()
    return tuple(
        GroupRow(
            attribute=group.attribute,
            level=group.level,
            n_users=group.n_users,
            ndcg_10=_estimate(group.ndcg_10),
            overconfidence=_estimate(group.overconfidence),
        )
        for group in fairness.groups
    )


def exposure_rows(fairness: FairnessEvaluation | None) -> tuple[ExposureRow, ...]:
    """Rows of the exposure of items."""
    if fairness is None:
        return ()
    return tuple(ExposureRow(name=name, value=value) for name, value in _values(fairness.exposure))


def _values(exposure: ExposureEvaluation) -> Iterator[tuple[str, Estimate]]:
    yield "tail: share of the exposure", _estimate(exposure.tail_share)
    yield "tail: share of what users chose", _estimate(exposure.tail_demand)
    yield "gap: chosen minus shown", _estimate(exposure.gap)
    yield "Gini coefficient", Estimate(value=exposure.gini)
    yield "items in some list", Estimate(value=exposure.coverage)
    yield "popularity lift", Estimate(value=exposure.popularity_lift)


def _estimate(measured: MeasuredValue) -> Estimate:
    return Estimate(value=measured.value, low=measured.low, high=measured.high)
